"""One life after the other, by restart and by kill -9: nothing that changed meanwhile is missed."""

from tests.e2e.running import eventually
from tests.e2e.systemd.service import Service
from tests.e2e.systemd.stream import Stream, streaming

EVERYTHING = ["created", "modified", "deleted", "moved"]


def goes_on(stream: Stream, rounds: int = 100) -> None:
    """Wait until so many more files were made."""
    goal = stream.rounds + rounds
    eventually(lambda: stream.rounds >= goal, "files are made")


def test_restarts_under_a_stream_of_changes_miss_nothing(service: Service) -> None:
    service.configure(service.rule(changes=EVERYTHING))
    service.start()
    with streaming(service.machine.path(service.root)) as stream:
        for _ in range(3):
            goes_on(stream)
            service.machine.run("systemctl", "restart", service.unit)
        goes_on(stream)
    service.sees_the_disk()


def test_kill_9_under_a_stream_of_changes_misses_nothing(service: Service) -> None:
    service.machine.drop_in(service.unit, "soon", "[Service]\nRestartSec=200ms\n")
    service.configure(service.rule(changes=EVERYTHING))
    service.start()
    with streaming(service.machine.path(service.root)) as stream:
        for _ in range(3):
            goes_on(stream)
            pid = service.pid
            service.kill()
            service.lives_again(pid)
        goes_on(stream)
    service.sees_the_disk()
    assert service["NRestarts"] == "3"


def test_what_came_and_went_while_it_was_dead_is_counted_and_named(service: Service) -> None:
    service.configure(service.rule(changes=EVERYTHING))
    service.touch("folder/kept")
    service.start()
    service.saw(f"{service.root}/folder/kept")
    assert service["NFileDescriptorStore"] == "1"
    pid = service.pid
    service.kill()
    eventually(lambda: service.pid == 0, "it is dead")
    assert service["NFileDescriptorStore"] == "1"
    gone = service.touch("folder/came-and-went")
    service.machine.path(gone).unlink()
    service.lives_again(pid)
    service.says(f"came and went while no daemon ran: {gone}")
    assert service.ask("status")["transients"] == 1
    assert service["NFileDescriptorStore"] == "1"
    service.saw(service.touch("folder/later"))


def test_descriptors_outlive_one_life_after_the_other(service: Service) -> None:
    service.configure(service.rule(changes=EVERYTHING))
    service.start()
    for number in range(3):
        service.saw(service.touch(f"{number}/file"))
        service.machine.run("systemctl", "restart", service.unit)
        assert service["NFileDescriptorStore"] == "1"
    assert service.ask("status")["watch"]["watches"] == len(["root", "anchors of /srv/main/root", "0", "1", "2"]) + 2


def test_a_stop_gives_the_descriptors_up_and_the_next_start_finds_what_changed(service: Service) -> None:
    service.configure(service.rule(changes=EVERYTHING))
    kept = service.touch("kept")
    gone = service.touch("gone")
    service.start()
    service.saw(gone)
    service.saw(kept)
    service.machine.run("systemctl", "stop", service.unit)
    assert service["NFileDescriptorStore"] == "0"
    service.machine.path(gone).unlink()
    service.touch("made")
    service.start()
    service.sees_the_disk()


def test_a_reboot_and_a_crash_of_the_machine_miss_nothing(service: Service) -> None:
    machine = service.machine
    service.configure(service.rule(changes=EVERYTHING))
    machine.run("systemctl", "enable", "--now", service.unit)
    service.saw(service.touch("first"))
    machine.poweroff()
    for number in range(10):
        service.touch(f"while-off/{number}")
    machine.boot()
    service.sees_the_disk()
    service.touch("last")
    machine.crash()
    service.touch("after-the-crash")
    machine.boot()
    service.sees_the_disk()

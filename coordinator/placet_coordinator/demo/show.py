"""The demo from its first line to its exit code."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import httpx2

from placet_coordinator.demo.child import ChildFailed
from placet_coordinator.demo.scenes import Scenes
from placet_coordinator.demo.stage import Stage, StageFailed
from placet_coordinator.demo.story import Story

GOOD, BAD, INTERRUPTED = 0, 1, 130


def run_demo(*, keep: bool = False) -> int:
    """Play the demo and print it.

    Args:
        keep: leave the services running afterwards, to look around, until Ctrl-C.

    Returns:
        The exit code: 0 if everything was as it has to be.
    """
    story = Story()
    folder = Path(tempfile.mkdtemp(prefix="placet-demo-"))
    try:
        with _ended_by_sigterm():
            code = _play(story, folder, keep=keep)
    except KeyboardInterrupt:
        story.say("stopped")
        code = INTERRUPTED
    except (ChildFailed, StageFailed, httpx2.HTTPError) as error:
        story.trouble(f"the demo can't go on: {error}")
        code = BAD
    if code == BAD:
        story.trouble(f"databases and logs are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _play(story: Story, folder: Path, *, keep: bool) -> int:
    began = time.monotonic()
    with Stage(folder) as stage:
        with story.working("starting a coordinator on SQLite, bank-a, bank-b and a shop, each a process of its own"):
            stage.open()
        for child in stage.children:
            story.say(f"{child.name:<12} {stage.urls[child.name]}  pid {child.pid}")
        Scenes(stage, story).play()
        story.title("The end")
        code = _conclude(story, time.monotonic() - began)
        _tell_how_to_look(story, stage, keep=keep)
        if keep:
            _wait_for_interrupt(story)
    return code


def _conclude(story: Story, seconds: float) -> int:
    if not story.off:
        story.say(f"all {story.checks} checks hold; {seconds:.1f} s")
        return GOOD
    story.trouble(f"{len(story.off)} of {story.checks} checks are off:")
    for each in story.off:
        story.trouble(f"  {each}")
    return BAD


def _tell_how_to_look(story: Story, stage: Stage, *, keep: bool) -> None:
    if not keep:
        story.say("To look around, keep the services running: placet demo --keep")
        return
    url = stage.coordinator_url
    story.say("All services go on running. Look at them from another terminal:")
    story.say(f"  export PLACET_URL={url}")
    story.say("  placet tx list")
    story.say("  placet tx show order-two-lamps")
    story.say(f"  curl {url}/v1/transactions/order-to-atlantis")
    story.say(f"  curl {url}/v1/services")
    story.say(f"  {stage.urls['shop']}/docs  (place an order of your own)")
    story.say(f"Databases and logs: {stage.folder}")


def _wait_for_interrupt(story: Story) -> None:
    story.say("Ctrl-C ends it.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        story.say("stopping")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, so that no child outlives it."""

    def interrupt(_signal: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

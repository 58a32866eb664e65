"""One server for all tests that leave it as they found it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.registry.store import Registry
from aimass.runtime.load import shipped
from serving.process import PATIENCE, Server

WHISPER = "whisper-base"


@pytest.fixture(scope="session")
def home(test_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pretrained models of the test home, and a registry of its own.

    Model ``spoken`` has two versions: the shipped digits, and the same with the word ``nought``
    for ``zero``, so that an answer tells which version gave it.
    """
    pretrained.pull(WHISPER, home=test_home)
    home = tmp_path_factory.mktemp("home")
    (home / "models").symlink_to(test_home / "models")
    registry = Registry(home)
    digits = bundles.load(shipped()["digits"])
    for word in ("zero", "nought"):
        registry.publish(_saying(digits, word, tmp_path_factory.mktemp(word)))
    return home


def _saying(digits: bundles.Bundle, word: str, folder: Path) -> bundles.Bundle:
    for name in (bundles.GRAPH, bundles.LICENCE, bundles.TOKENS):
        content = (digits.folder / name).read_bytes()
        if name == bundles.TOKENS:
            content = content.replace("▁zero ".encode(), f"▁{word} ".encode())
        (folder / name).write_bytes(content)
    manifest = digits.manifest.model_dump(mode="json", exclude={"format", "files"})
    golden = digits.golden()
    text = golden.text.replace("zero", word)
    said = bundles.Golden(golden.samples, golden.log_probs, text)
    return bundles.write(folder, manifest | {"name": "spoken"}, said)


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[Server]:
    with Server(home, "--preload", "digits") as server:
        yield server.ready()


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
        yield client

"""Downloads, from servers on this machine: the checksum decides, every way to fail is bounded."""

import hashlib
import os
import ssl
import subprocess

import pytest
from local_server import Server

from cnncli.errors import CnnError, UnavailableError
from cnncli.io.datasets.download import cache_folder, download, is_offline
from cnncli.io.datasets.remote_file import RemoteFile

CONTENT = b"contents"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """No proxy stands between the test and its server, and the network may be used."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("CNN_OFFLINE", raising=False)


def remote(name="a", content=CONTENT):
    return RemoteFile(name, hashlib.sha256(content).hexdigest(), len(content))


def fetch(folder, *mirrors, said=None, **options):
    trusted = tuple(mirror for mirror in mirrors if mirror.startswith("http://127"))
    options = {"trusted": trusted, "stall_s": 5.0} | options
    download([remote()], mirrors, folder, "Test", (said if said is not None else []).append, **options)


def redirect(target, code=302):
    def answer(handler, _):
        handler.send_response(code)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


def truncated(handler, _):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[:3])


def stalled(handler, released):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT[:3])
    handler.wfile.flush()
    released.wait(60)


def without_end(handler, released):
    handler.send_response(200)
    handler.end_headers()
    while not released.is_set():
        handler.wfile.write(bytes(1 << 16))


def no_http(handler, _):
    handler.wfile.write(b"\x00\x01\x02 nonsense\r\n\r\n")


def test_row67_the_next_mirror_is_tried_and_the_sum_checked(tmp_path):
    said = []
    with Server({"/bad/a": b"rubbish!", "/good/a": CONTENT}) as server:
        fetch(tmp_path / "new/data", *(server.address + folder for folder in ("none/", "bad/", "good/")), said=said)
        assert server.requests == ["/none/a", "/bad/a", "/good/a"]
    assert (tmp_path / "new/data/a").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "new/data") == ["a"]
    assert said == ["fetching a (0.0 MB)"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"contentz", "sent a a with another sha256"),
        (b"content", "sent 7 of the 8 B of a"),
        (CONTENT * 100_000, "sent more than the 8 B of a"),
        (without_end, "sent more than the 8 B of a"),
        (truncated, "sent 3 of the 8 B of a"),
        (None, "HTTP status 404"),
        (no_http, "nonsense"),
    ],
)
def test_row67_wrong_bytes_are_never_kept(tmp_path, body, reason):
    with Server({"/a": body}) as server, pytest.raises(UnavailableError) as caught:
        fetch(tmp_path / "new/data", server.address)
    assert f"{server.address}a: Test is not on this machine and could not be fetched (127.0.0.1:" in str(caught.value)
    assert reason in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_mirror_that_stops_sending_is_given_up(tmp_path):
    with Server({"/slow/a": stalled, "/a": CONTENT}) as server:
        with pytest.raises(UnavailableError, match=r"sent nothing for 0\.2 s"):
            fetch(tmp_path / "one", server.address + "slow/", stall_s=0.2)
        fetch(tmp_path / "two", server.address + "slow/", server.address, stall_s=0.2)
    assert os.listdir(tmp_path) == ["two"]
    assert (tmp_path / "two/a").read_bytes() == CONTENT


def test_redirections_are_followed_to_trusted_addresses_only(tmp_path):
    with Server({"/a": CONTENT}) as other:
        pages = {"/near/a": redirect("/there"), "/there": CONTENT, "/far/a": redirect(other.address + "a")}
        with Server(pages | {"/round/a": redirect("/round/a")}) as server:
            fetch(tmp_path / "near", server.address + "near/", trusted=(server.address,))
            with pytest.raises(UnavailableError, match=f"redirected to {other.address}a, which is not"):
                fetch(tmp_path / "far", server.address + "far/", trusted=(server.address,))
            with pytest.raises(UnavailableError, match="HTTP status 302"):
                fetch(tmp_path / "round", server.address + "round/", trusted=(server.address,))
        assert other.requests == []
    assert os.listdir(tmp_path) == ["near"]


def test_plain_http_is_not_even_asked(tmp_path):
    with Server({"/a": CONTENT}) as server:
        with pytest.raises(UnavailableError, match="does not begin with https://"):
            download([remote()], [server.address], tmp_path / "data", "Test", lambda _: None)
        assert server.requests == []


def test_https_does_not_lead_to_http(tmp_path, monkeypatch):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    folder = tmp_path / "data"
    with Server({"/a": CONTENT}) as plain:
        pages = {"/good/a": CONTENT, "/a": redirect(plain.address + "a")}
        with Server(pages, context) as server:
            with pytest.raises(UnavailableError, match="certificate"):  # nobody vouches for it
                download([remote()], [server.address + "good/"], folder, "Test", lambda _: None)
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            with pytest.raises(UnavailableError, match=f"redirected to {plain.address}a, which is not https://"):
                download([remote()], [server.address], folder, "Test", lambda _: None)
            assert plain.requests == []
            download([remote()], [server.address + "good/"], folder, "Test", lambda _: None)
    assert (folder / "a").read_bytes() == CONTENT


def test_row68_no_mirror_answers(tmp_path):
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9: Connection refused"):
        fetch(tmp_path / "data", "http://127.0.0.1:9/")
    assert list(tmp_path.iterdir()) == []


def test_a_good_file_is_kept_and_a_bad_one_replaced(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "b").write_bytes(b"half of ")
    with Server({"/b": b"contents of b"}) as server:
        files = [remote(), remote("b", b"contents of b")]
        download(files, [server.address], tmp_path, "Test", lambda _: None, trusted=(server.address,))
        assert server.requests == ["/b"]
    assert (tmp_path / "b").read_bytes() == b"contents of b"


def test_files_fetched_before_a_failure_stay(tmp_path):
    files = [remote(), remote("b")]
    with Server({"/a": CONTENT}) as server, pytest.raises(UnavailableError, match="HTTP status 404"):
        download(files, [server.address], tmp_path / "data", "Test", lambda _: None, trusted=(server.address,))
    assert os.listdir(tmp_path / "data") == ["a"]


def test_no_home_directory_says_what_to_do(monkeypatch):
    """A container with a user id that no account has."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    with pytest.raises(CnnError, match=r"no home directory .*; give --data-dir, or set CNN_DATA_DIR or HOME"):
        cache_folder(None)


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline_is_what_the_environment_says(value, expected, monkeypatch):
    monkeypatch.delenv("CNN_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("CNN_OFFLINE", value)
    assert is_offline() is expected

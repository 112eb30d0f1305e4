"""TLS and tokens at the worker: what it refuses to start with, how the command line reaches it, how certificates change."""

from __future__ import annotations

import re
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import input_files
import moulin
from local_stack.certificates import Authority
from worker_process import NewWorker, WorkerProcess, run_moulin, until

TOKEN = "the-token-of-these-tests"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours", "ours")


@pytest.fixture
def identity(authority: Authority) -> dict[str, str]:
    """The settings of a worker with a certificate."""
    certificate, key = authority.issue("worker.test", "127.0.0.1", file="worker")
    return {"MOULIN_TLS_CERTIFICATE": str(certificate), "MOULIN_TLS_PRIVATE_KEY": str(key)}


def address(worker: WorkerProcess) -> str:
    return worker.start().connection.target


# Each changes the settings of a worker with a certificate so that they are wrong; the words that the error says.
WRONG: dict[str, tuple[Callable[[dict[str, str], Path], object], str]] = {
    "no key": (lambda s, _: s.pop("MOULIN_TLS_PRIVATE_KEY"), "tls.private_key is missing, which tls.certificate needs"),
    "no certificate": (lambda s, _: s.pop("MOULIN_TLS_CERTIFICATE"), "tls.certificate is missing"),
    "authorities alone": (
        lambda s, _: (
            s.pop("MOULIN_TLS_CERTIFICATE"),
            s.pop("MOULIN_TLS_PRIVATE_KEY"),
            s.update(MOULIN_TLS_CLIENT_CA="/ca"),
        ),
        "tls.certificate is missing, which tls.client_ca needs",
    ),
    "no such file": (
        lambda s, _: s.update(MOULIN_TLS_CERTIFICATE="/no/such.pem"),
        "tls.certificate names the file /no/such.pem",
    ),
    "no PEM": (lambda s, f: s.update(MOULIN_TLS_CERTIFICATE=wrote(f, "hello")), "tls.certificate holds no certificate"),
    "key for certificate": (
        lambda s, _: s.update(MOULIN_TLS_PRIVATE_KEY=s["MOULIN_TLS_CERTIFICATE"]),
        "tls.private_key holds no private key",
    ),
    "another's key": (
        lambda s, f: s.update(MOULIN_TLS_PRIVATE_KEY=str(Authority(f / "other").issue("worker.test")[1])),
        "tls.private_key is not the key of tls.certificate",
    ),
    "no authority": (lambda s, f: s.update(MOULIN_TLS_CLIENT_CA=wrote(f, "")), "tls.client_ca holds no certificate"),
    "short token": (lambda s, _: s.update(MOULIN_AUTH_TOKENS=f"{TOKEN},short"), "auth.tokens[1] has 5 characters"),
    "token with a blank": (
        lambda s, _: s.update(MOULIN_AUTH_TOKENS="a token with blanks"),
        "auth.tokens[0] holds a character",
    ),
}


def wrote(folder: Path, text: str) -> str:
    (folder / "file.pem").write_text(text)
    return str(folder / "file.pem")


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_ends_the_worker_before_it_listens_and_is_named(
    state: Path, identity: dict[str, str], tmp_path: Path, case: str
) -> None:
    spoil, words = WRONG[case]
    spoil(identity, tmp_path)
    done = run_moulin(state, "serve", MOULIN_LISTEN="127.0.0.1:0", **identity)
    assert done.returncode == 2
    assert words in done.stderr
    assert "listens on" not in done.stdout
    assert "short" not in done.stderr.replace("short token", "")
    doctor = run_moulin(state, "doctor", **identity)
    assert doctor.returncode == 1
    assert words in doctor.stdout


def test_certificates_and_tokens_may_stand_in_the_file_or_be_named_there(
    state: Path, authority: Authority, identity: dict[str, str], worker: WorkerProcess
) -> None:
    token = state / "token"
    token.write_text(f"{TOKEN}\n")
    config = state / "moulin.toml"
    config.write_text(
        f'[tls]\ncertificate = """{Path(identity["MOULIN_TLS_CERTIFICATE"]).read_text()}"""\n'
        f'private_key = {{ env = "KEY_TEXT" }}\n[auth]\ntokens = [{{ file = "{token}" }}, "another-token-of-theirs"]\n'
    )
    key = Path(identity["MOULIN_TLS_PRIVATE_KEY"]).read_text()
    target = worker.start(MOULIN_CONFIG=str(config), KEY_TEXT=key).connection.target
    tls = moulin.TLSConfig(root_certificates=authority.certificate)
    for one in (TOKEN, "another-token-of-theirs"):
        with moulin.Client(target, tls=tls, token=one) as client:
            assert client.describe().worker_id


def test_the_configuration_and_the_code_of_the_documentation_work(
    state: Path, authority: Authority, worker: WorkerProcess, tmp_path: Path
) -> None:
    section = DOCS.read_text().partition("## TLS and tokens\n")[2].partition("\n### ")[0]
    (config,) = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "token").write_text(TOKEN)
    for name in ("ca.crt", "clients.crt"):
        (folder / name).write_bytes(authority.certificate.read_bytes())
    for host, name in (("worker.test", "tls"), ("client.test", "mine")):
        for issued in authority.issue(host, "127.0.0.1"):
            (folder / name).with_suffix(".key" if issued.suffix == ".key" else ".crt").write_bytes(issued.read_bytes())
    (state / "moulin.toml").write_text(
        config.replace("/etc/moulin", str(folder)).replace("/run/secrets/moulin-airflow", f"{folder}/token")
    )
    target = worker.start(
        MOULIN_CONFIG=str(state / "moulin.toml"), MOULIN_TOKEN_OF_THE_ANALYSTS="the-token-of-the-analysts"
    ).connection.target
    tls = moulin.TLSConfig(
        root_certificates=folder / "ca.crt", client_certificate=folder / "mine.crt", client_key=folder / "mine.key"
    )
    with moulin.Client(target, tls=tls, token="the-token-of-the-analysts") as client:
        job = client.submit(input_files.job(tmp_path / "input")).wait(60).job_id
    names: dict[str, Any] = {"token": TOKEN.encode(), "job_id": job}
    exec(code.replace("/etc/moulin", str(folder)).replace("worker.example.com:7070", target), names)
    assert names["rows"].num_rows == len(input_files.LANDED_IDS)


def test_every_command_reaches_a_worker_with_certificates_and_token(
    state: Path, authority: Authority, identity: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    mine = authority.issue("client.test")
    asked = {**identity, "MOULIN_TLS_CLIENT_CA": str(authority.certificate), "MOULIN_AUTH_TOKENS": TOKEN}
    target = worker.start(**asked).connection.target
    tls = moulin.TLSConfig(root_certificates=authority.certificate, client_certificate=mine[0], client_key=mine[1])
    with moulin.Client(target, tls=tls, token=TOKEN) as client:
        job = client.submit(input_files.job(tmp_path / "input")).wait(60).job_id
    token = state / "client.token"
    token.write_text(f"{TOKEN}\n")
    reach = [
        "--address", target, "--ca-certificate", authority.certificate, "--client-certificate", mine[0],
        "--client-key", mine[1], "--token-file", token,
    ]  # fmt: skip
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for command, words in {
        ("get", job): "landed in",
        ("list",): job,
        ("cancel", job): "succeeded",
        ("query", "SELECT count(*) AS n FROM bronze.numbers"): str(len(input_files.LANDED_IDS)),
        ("infer", f"{tmp_path}/input/0.csv"): "amount",
        ("files", "list", "bronze.numbers"): "0.csv",
        ("files", "explain", f"file://{tmp_path}/input/0.csv"): "bronze.numbers",
        ("doctor",): "ok      warehouse",
    }.items():
        done = run_moulin(elsewhere, *command, *reach)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert words in done.stdout, f"{command}: {done.stdout}"
    # The same from the environment.
    done = run_moulin(
        elsewhere, "list", MOULIN_ADDRESS=target, MOULIN_CA_CERTIFICATE=str(authority.certificate), MOULIN_TOKEN=TOKEN,
        MOULIN_CLIENT_CERTIFICATE=str(mine[0]), MOULIN_CLIENT_KEY=str(mine[1]),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert job in done.stdout


@pytest.mark.parametrize(
    ("left_out", "added", "words"),
    [
        ("--token-file", [], "the call carries no token"),
        ("--client-certificate --client-key", [], "the client showed no certificate"),
        ("--ca-certificate", ["--tls"], "UnknownIssuer"),
        ("", ["--server-name", "other.test"], "not valid for name"),
        ("--ca-certificate --client-certificate --client-key", [], "no worker answers"),
        ("--client-key", [], "--client-key"),
        ("--token-file", ["--token-file", "/no/such"], "--token-file /no/such cannot be read"),
    ],
)
def test_the_command_line_says_what_is_missing(
    state: Path, authority: Authority, identity: dict[str, str], worker: WorkerProcess, left_out: str, added: list[str], words: str
) -> None:  # fmt: skip
    mine = authority.issue("client.test")
    target = worker.start(
        MOULIN_TLS_CLIENT_CA=str(authority.certificate), MOULIN_AUTH_TOKENS=TOKEN, **identity
    ).connection.target
    token = state / "client.token"
    token.write_text(TOKEN)
    known = {
        "--ca-certificate": authority.certificate, "--client-certificate": mine[0], "--client-key": mine[1], "--token-file": token,
    }  # fmt: skip
    reach = [part for name, value in known.items() if name not in left_out.split() for part in (name, value)]
    done = run_moulin(state, "list", "--address", target, *reach, *added)
    assert done.returncode != 0
    assert words in done.stderr
    assert TOKEN not in done.stderr


@pytest.mark.parametrize(
    ("options", "environment", "named"),
    [
        (["--tls"], {}, "--tls"),
        (["--ca-certificate", "/ca.pem"], {}, "--ca-certificate"),
        (["--client-certificate", "/c.pem", "--client-key", "/c.key"], {}, "--client-certificate"),
        (["--server-name", "worker.test"], {}, "--server-name"),
        (["--token-file", "/token"], {}, "--token-file"),
        ([], {"MOULIN_TLS": "true"}, "MOULIN_TLS"),
        ([], {"MOULIN_TOKEN_FILE": "/token"}, "MOULIN_TOKEN_FILE"),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["doctor"], ["query", "SELECT 1 FROM a.b"]], ids=lambda said: said[0])
def test_what_says_how_to_reach_a_worker_is_not_passed_over_when_none_is_named(
    state: Path, command: list[str], options: list[str], environment: dict[str, str], named: str
) -> None:
    done = run_moulin(state, *command, *options, **environment)
    assert done.returncode == 2, done.stdout
    assert f"{named} " in done.stderr or f"{named})" in done.stderr
    assert "name it with --address HOST:PORT or MOULIN_ADDRESS" in done.stderr


def test_a_token_in_the_environment_alone_does_not_ask_for_a_worker(state: Path) -> None:
    assert run_moulin(state, "list", MOULIN_TOKEN=TOKEN, MOULIN_TLS="false").returncode == 0


def test_a_renewed_certificate_is_served_without_a_restart(
    authority: Authority, identity: dict[str, str], worker: WorkerProcess
) -> None:
    target = worker.start(**identity).connection.target
    tls = moulin.TLSConfig(root_certificates=authority.certificate)
    with moulin.Client(target, tls=tls) as before:
        first, served = before.describe().worker_id, shown(target)
        authority.issue("worker.test", "127.0.0.1", file="worker")
        until("the new certificate is served", lambda: shown(target) != served)
        assert before.describe().worker_id == first, "what is connected stays connected"
        with moulin.Client(target, tls=tls) as after:
            assert after.describe().worker_id == first
    assert "the certificate has changed" in worker.log()


def test_another_authority_of_clients_is_asked_for_without_a_restart(
    authority: Authority, identity: dict[str, str], worker: WorkerProcess, tmp_path: Path
) -> None:
    old, new = Authority(tmp_path / "old", "old"), Authority(tmp_path / "new", "new")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(old.certificate.read_bytes())
    target = worker.start(MOULIN_TLS_CLIENT_CA=str(trusted), **identity).connection.target

    def answered(by: Authority) -> bool:
        certificate, key = by.issue("client.test")
        tls = moulin.TLSConfig(root_certificates=authority.certificate, client_certificate=certificate, client_key=key)
        with moulin.Client(target, tls=tls, timeout=10) as client:
            try:
                return bool(client.describe().worker_id)
            except moulin.MoulinError:
                return False

    assert answered(old)
    assert not answered(new)
    trusted.write_bytes(new.certificate.read_bytes())
    until("the new authority is trusted", lambda: answered(new))
    assert not answered(old)


def test_a_certificate_that_does_not_fit_its_key_is_not_taken(
    authority: Authority, identity: dict[str, str], worker: WorkerProcess
) -> None:
    target = worker.start(**identity).connection.target
    served = shown(target)
    other, _ = authority.issue("worker.test", "127.0.0.1", file="other")
    certificate = Path(identity["MOULIN_TLS_CERTIFICATE"])
    certificate.write_bytes(other.read_bytes())
    until("the worker complains", lambda: "the changed certificate is not taken" in worker.log())
    assert shown(target) == served
    Path(identity["MOULIN_TLS_PRIVATE_KEY"]).write_bytes(other.with_suffix(".key").read_bytes())
    until("the new certificate is served", lambda: shown(target) != served)


@pytest.mark.parametrize(
    ("days", "code", "words"),
    [
        (90, 0, "certificate valid until "),
        (3, 0, "which is in 3 days: renew it"),
        (-2, 1, "tls.certificate: expired at "),
    ],
)
def test_a_doctor_says_when_a_certificate_ends(
    state: Path, authority: Authority, days: int, code: int, words: str
) -> None:
    certificate, key = authority.issue("worker.test", days=days)
    settings = {"MOULIN_TLS_CERTIFICATE": str(certificate), "MOULIN_TLS_PRIVATE_KEY": str(key)}
    done = run_moulin(state, "doctor", MOULIN_AUTH_TOKENS=TOKEN, **settings)
    assert done.returncode == code, done.stdout
    assert words in done.stdout
    if code == 0:
        assert "a token is asked for" in done.stdout


@pytest.mark.parametrize(
    ("listen", "protected", "words"),
    [
        ("0.0.0.0:0", "", "all of it travels unencrypted"),
        ("0.0.0.0:0", "token", "tokens and rows travel unencrypted"),
        ("0.0.0.0:0", "tls", "whoever reaches the port can run and cancel jobs and read tables: set auth.tokens"),
        ("0.0.0.0:0", "token tls", ""),
        ("127.0.0.1:0", "", ""),
    ],
)
def test_a_worker_that_everybody_reaches_says_so(
    new_worker: NewWorker, identity: dict[str, str], listen: str, protected: str, words: str
) -> None:
    settings = {
        **({"MOULIN_AUTH_TOKENS": TOKEN} if "token" in protected else {}),
        **(identity if "tls" in protected else {}),
    }
    worker = new_worker(MOULIN_LISTEN=listen, **settings)
    worker.start()
    worker.send(signal.SIGTERM)
    assert worker.wait_end(10) == 0
    doctor = run_moulin(worker.state, "doctor", MOULIN_LISTEN=listen, **settings).stdout
    for said in (worker.log(), doctor):
        assert words in said
        if not words:
            assert "unencrypted" not in said
            assert "whoever" not in said


def shown(target: str) -> bytes:
    """The certificate that a new connection is shown."""
    host, _, port = target.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=10).encode()

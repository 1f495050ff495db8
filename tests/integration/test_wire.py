# SPDX-License-Identifier: Apache-2.0
"""The envelope (spec/daemon.md §3, §4) and what an ill-mannered peer may send."""
import resource
import socket

import pytest
from harness import Connection, assert_clear, assert_says, copy, image_file, printed, recipe, run, stage


def error_of(answer):
    assert answer["command"] == "error", answer
    assert set(answer) == {"version", "command", "payload"}
    message = answer["payload"]["message"]
    assert_clear(message)
    return message


def say(daemon, line):
    with daemon.connect() as connection:
        return connection.send(line).answer()


@pytest.mark.parametrize("line", [
    '{"version":0,"command":"status"}',
    '{"command":"status"}',
    '{"Version":0,"COMMAND":"status"}',
    '{"version":null,"command":"status","payload":null}',
    '{"command":"status","payload":{}}',
    '{"command":"shutdown","command":"status"}',
    '{"COMMAND":"shutdown","command":"status"}',
    '{"command":"status","COMMAND":"shutdown"}',
    '{"command":"status","colour":"green"}',
    '  {"command" : "status"}  \r',
])
def test_understood(daemon, line):
    answer = say(daemon, line + "\n")
    assert answer["command"] == "ok" and answer["payload"]["running"] is True
    assert daemon.status()["running"]


@pytest.mark.parametrize("line,words", [
    ('{"version":1,"command":"status"}', "unsupported protocol version"),
    ('{"version":-1,"command":"status"}', "unsupported protocol version"),
    ('{"command":"dance"}', "unknown command: dance"),
    ('{"version":0}', "missing command"),
    ('{"command":""}', "missing command"),
    ('{"command":null}', "missing command"),
    ("hello", "malformed message: "),
    ("", "malformed message: "),
    ("[]", "malformed message: "),
    ("17", "malformed message: "),
    ("null", "malformed message: "),
    ('"status"', "malformed message: "),
    ('{"command":"status"', "malformed message: "),
    ('{"command":"status"} trailing', "malformed message: "),
    ('{"command":17}', ""),
    ('{"command":"status","payload":[]}', ""),
    ('{"version":"0","command":"status"}', ""),
    ('{"command":"\\ud800"}', ""),
    ("[" * 100000, "malformed message: "),
    ('{"a":' * 50000 + "1" + "}" * 50000, "malformed message: "),
])
def test_refused(daemon, line, words):
    answer = say(daemon, line + "\n")
    if words:
        assert_says(error_of(answer), words)
    assert daemon.status()["running"]


@pytest.mark.parametrize("line", [b'{"command":"\xff\xfe"}\n', b'\x00\n', b'{"command":"sta\x00tus"}\n', b'\x16\x03\x01\x02\x00\x01\n', bytes(range(256)) + b"\n"])
def test_bytes_that_are_no_text(daemon, line):
    error_of(say(daemon, line))
    assert daemon.status()["running"]


@pytest.mark.parametrize("command", ["image-import", "image-start", "image-destroy", "container-stop", "container-destroy", "container-status",
                                     "container-exec", "container-update"])
def test_commands_to_come(daemon, command):
    message = error_of(daemon.ask(command, {"id": "x", "ref": "a/b", "version": "1", "path": "/x", "command": ["true"]}))
    assert_says(message, command)
    assert not message.startswith("unknown command")


@pytest.mark.parametrize("field,words", [
    ("recipe", "missing recipe"), ("resource", "missing resource name"), ("output", "missing output directory"), ("root", "missing project root"),
])
@pytest.mark.parametrize("how", ["absent", "null", "empty"])
def test_missing_fields(daemon, place, field, words, how):
    payload = daemon.build_request(stage(place.base("scratch.tar")))["payload"]
    payload.pop(field)
    if how == "null":
        payload[field] = None
    elif how == "empty" and field != "recipe":
        payload[field] = ""
    assert error_of(daemon.ask("build", payload)) == words


def test_build_without_payload(daemon):
    assert_says(error_of(daemon.ask("build")), "missing recipe")


@pytest.mark.parametrize("payload", [
    {"recipe": "x"}, {"recipe": []}, {"recipe": {"stages": {}}}, {"recipe": {"stages": [17]}}, {"recipe": {"stages": [{"from": 1}]}},
    {"recipe": recipe(stage("file x", {"run": ["a"]}))}, {"recipe": recipe(stage("file x", {"run": "a", "env": ["A=b"]}))},
    {"recipe": recipe(stage("file x", {"run": "a", "env": {"A": 1}}))}, {"resource": 17}, {"output": []}, {"root": {}},
    {"platforms": "linux/amd64"}, {"platforms": [1]}, {"platforms": ["sparc"]}, {"entrypoint": "x"}, {"entrypoint": [1]},
    {"root": "relative/path"}, {"output": "relative/path"}, {"resource": "../../x"}, {"resource": "a\nb"},
])
def test_wrong_types(daemon, place, payload):
    request = daemon.build_request(stage(place.base("scratch.tar")))
    error_of(daemon.ask("build", {**request["payload"], **payload}))
    assert daemon.status()["running"]


def test_capital_keys_of_the_original_client(daemon, place):
    place.base("busybox.tar")
    place.write("a", "A")
    payload = {
        "recipe": {"Stages": [
            {"Name": "one", "Transient": True, "Platform": "", "From": "file busybox.tar", "Steps": [{"Run": "echo $X > /x", "Shell": "", "Copy": "", "Env": {"X": "1"}, "Workdir": "", "Platform": "", "Steps": None}]},
            {"Name": "", "Transient": False, "From": "file busybox.tar", "Steps": [{"Run": "", "Copy": "one:/x /x", "Env": None}, {"Copy": "a /a"}]}]},
        "resource": "acme/api", "output": str(place.out), "root": str(place.context), "entrypoint": None, "platforms": None}
    answer = daemon.ask("build", payload)
    assert answer["command"] == "ok" and answer["payload"]["output"] == str(place.out), answer


def test_one_answer_then_the_end(daemon):
    with daemon.connect() as connection:
        connection.send('{"command":"status"}\n{"command":"status"}\n')
        assert connection.answer()["command"] == "ok"
        try:
            assert connection.line() is None
        except ConnectionResetError:
            pass  # the second request was never read


def test_closed_before_the_newline(daemon):
    with daemon.connect() as connection:
        connection.send('{"command":"shutdown"}')
    with daemon.connect():
        pass
    assert daemon.status()["running"]


def test_half_closed_is_still_waiting(daemon, place):
    """`nc -N` and socat shut their sending side; they still want the answer."""
    with daemon.connect() as connection:
        connection.send(daemon.build_request(stage(place.base("busybox.tar"), run("echo hi > /hi")))).end_sending()
        assert connection.answer()["command"] == "ok"


def test_request_in_pieces(daemon):
    with daemon.connect() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        for byte in '{"command":"status"}\n':
            connection.send(byte)
        assert connection.answer()["command"] == "ok"


@pytest.mark.parametrize("ending", ["\n", ""])
def test_request_too_large(place, ending):
    daemon = place.daemon("--request-max", 65536)
    with daemon.connect() as connection:
        try:
            connection.send('{"command":"status","x":"' + "x" * 1000000 + '"}' + ending)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            answer = connection.answer()
        except ConnectionResetError:
            answer = None
        if answer is not None:
            assert_says(error_of(answer), "65536")
    assert daemon.status()["running"]


def test_large_request_within_the_limit(daemon):
    assert say(daemon, '{"command":"status","x":"%s"}\n' % ("x" * 8000000))["command"] == "ok"


def test_request_that_never_ends(daemon):
    """The default limit holds, and memory stays where it was."""
    with daemon.connect() as connection:
        block = "x" * 1048576
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(64):
                connection.send(block)
    assert daemon.status()["running"]


def test_a_thousand_idle_connections(daemon):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    idle = [Connection(daemon.socket_path) for _ in range(1000)]
    try:
        assert daemon.status()["running"]
        half = [c.send('{"command":') for c in idle[::10]]
        assert daemon.status()["running"]
        assert half[0].send('"status"}\n').answer()["command"] == "ok"
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert daemon.status()["running"]


def test_peer_that_does_not_read(daemon, place):
    """Its own build may wait; others go on."""
    place.base("busybox.tar")
    with daemon.connect() as deaf:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.send(daemon.build_request(stage("file busybox.tar", run("yes | head -c 10000000")), stream=True, output=str(place.path / "deaf")))
        daemon.build(stage("file busybox.tar", run("echo other > /x")))
    assert daemon.status()["running"]


def test_stream_is_asked_for(daemon, place):
    place.base("busybox.tar")
    with daemon.connect() as connection:
        connection.send(daemon.build_request(stage("file busybox.tar", run("echo hi"))))
        assert connection.answer()["command"] == "ok"
        assert connection.events == []
    events, answer = daemon.streamed(stage("file busybox.tar", run("echo ho")))
    assert answer["command"] == "ok"
    assert printed(events) == "ho\n"
    assert {event["type"] for event in events} <= {"step-started", "step-log", "step-done", "step-cached"}
    assert {event["container"] for event in events if event["stage"] == "1"} == {"test-thing-linux-%s-stage-1" % image_file.host_architecture()}


def test_output_is_made_valid_text(daemon, place):
    events, answer = daemon.streamed(stage(place.base("busybox.tar"), run(r"printf 'caf\303\251 \377\376 end\n'")))
    assert answer["command"] == "ok"
    text = printed(events)
    assert "caf\u00e9 \ufffd" in text and "end" in text


def test_status_counts_successes(daemon, place):
    place.base("scratch.tar")
    place.write("a")
    daemon.build(stage("file scratch.tar", copy("a /a")))
    daemon.refuse(stage("file scratch.tar", copy("b /b")))
    assert daemon.status()["builds"] == 1

"""HTTPS of `ghoststream serve`: HTTP/2 and HTTP/1.1 by curl, the URLs that clients get, a certificate that is renewed while a
download runs, and certificates that are refused.

    https.py CLIP FOLDER        GS_CLI; openssl and curl make and ask
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

CLI, CLIP, WORK = os.environ["GS_CLI"], sys.argv[1], pathlib.Path(sys.argv[2])
WORK.mkdir(parents=True, exist_ok=True)
CONFIG = WORK / "ghoststream.yaml"
CONFIG.write_text(
    f"""server: {{host: 127.0.0.1, port: 0, tls_port: 0, tls_certificate: "{WORK}/cert.pem", tls_key: "{WORK}/key.pem"}}
mdns: {{enabled: false, udp_enabled: false}}
transcoding: {{temp_directory: "{WORK}/jobs", idle_workers: 0}}
hardware: {{prefer_hw_accel: false}}
security: {{state_directory: "{WORK}/state", sources: {{local_roots: ["{pathlib.Path(CLIP).parent}"]}}}}
"""
)


def certificate(name: str) -> None:
    """A certificate of its own authority for localhost."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-keyout", WORK / "key.pem", "-out", WORK / "cert.pem", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)


def curl(url: str, *options: str) -> str:
    """What curl says; it checks the certificate."""
    command = ["curl", "-sS", "-m", "20", "--cacert", str(WORK / "cert.pem"), *options, url]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(change: str, said: str) -> None:
    """A server with a changed setting does not start, and says which."""
    wrong = WORK / "wrong.yaml"
    wrong.write_text(re.sub(r"tls_key: \"[^\"]*\"", change, CONFIG.read_text()))
    done = subprocess.run([CLI, "serve", "--config", wrong], capture_output=True, text=True, timeout=20)
    assert done.returncode not in (0, None) and said in done.stderr, done.stderr


certificate("first")
log = WORK / "log"
server = subprocess.Popen([CLI, "serve", "--config", CONFIG, "--log-format", "json"], stdout=log.open("wb"), stderr=subprocess.STDOUT)
try:
    found = None
    for _ in range(200):
        found = re.search(r"listening on https://127\.0\.0\.1:(\d+)", log.read_text())
        if found or server.poll() is not None:
            break
        time.sleep(0.05)
    assert found, log.read_text()
    base = f"https://localhost:{found[1]}"
    version = "%{http_version} %{ssl_verify_result}"
    assert curl(f"{base}/api/health", "-o", "/dev/null", "-w", version) == "2 0"
    assert curl(f"{base}/api/health", "--http1.1", "-o", "/dev/null", "-w", version) == "1.1 0"
    assert curl(f"{base}/api/health", "--tlsv1.2", "--tls-max", "1.2", "-o", "/dev/null", "-w", version) == "2 0"
    body = json.dumps({"source": CLIP, "mode": "stream"})
    job = json.loads(curl(f"{base}/api/transcode/start", "-d", body, "-H", "content-type: application/json"))
    assert job["stream_url"].startswith(f"{base}/stream/"), job
    assert curl(job["stream_url"]).startswith("#EXTM3U")
    # Renewed: who connects now sees the new one.
    certificate("second")
    server.send_signal(signal.SIGHUP)
    for _ in range(100):
        if "settings read again" in log.read_text():
            break
        time.sleep(0.05)
    assert "CN = second" in subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{found[1]}"], input="", capture_output=True, text=True, timeout=20
    ).stdout
    assert curl(f"{base}/api/health", "-o", "/dev/null", "-w", version) == "2 0"
    # A file that is wrong changes nothing.
    (WORK / "key.pem").write_text("none")
    before = CONFIG.read_text()
    CONFIG.write_text(f"{before}logging: {{level: DEBUG}}\n")
    server.send_signal(signal.SIGHUP)
    for _ in range(100):
        if "server.tls_key" in log.read_text():
            break
        time.sleep(0.05)
    assert "server.tls_key" in log.read_text(), log.read_text()[-2000:]
    assert curl(f"{base}/api/health", "-o", "/dev/null", "-w", version) == "2 0"
    with socket.create_connection(("127.0.0.1", int(found[1]))) as nonsense:
        nonsense.sendall(b"this is no handshake\r\n")
        nonsense.recv(64)
    time.sleep(0.5)
    assert "TLS:" not in log.read_text(), "the log's level is one of the settings that stay"
    CONFIG.write_text(before)
    certificate("third")
    other = WORK / "other.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", other], check=True, capture_output=True)
    refused(f'tls_key: "{other}"', "server.tls_key")
    refused('tls_key: "/nowhere/key.pem"', "/nowhere/key.pem")
    refused("tls_key: null", "server.tls_key")
finally:
    server.terminate()
    code = server.wait(20)
assert code == 0, code

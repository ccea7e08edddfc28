"""Fetches real footage once, keeps it outside the tree and prints where a clip is.

    python tests/setup/footage.py NAME...     paths of the clips, one per line, made when missing
    python tests/setup/footage.py --list      the names and what they are

The footage is Big Buck Bunny (c) copyright 2008, Blender Foundation / www.bigbuckbunny.org, CC BY 3.0. It comes
out of the source distribution of the Python package moviepy, found through the package index that pip is set up
to use. Clips other than `bbb` and `trailer` are cut from it with the system's ffmpeg.
"""

import argparse
import contextlib
import hashlib
import html.parser
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zipfile

try:
    import fcntl
except ImportError:  # not on Windows: two set-ups at once may then do the work twice
    fcntl = None

CREDIT = "Footage: Big Buck Bunny, (c) 2008 Blender Foundation, CC BY 3.0 (creativecommons.org/licenses/by/3.0)"

PACKAGE = "moviepy"
ARCHIVE = "moviepy-2.2.1.tar.gz"
ARCHIVE_SHA256 = "c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1"
FOLDER = "docs/_static/medias/getting_started/moviepy_10_minutes"
TRAILER = f"{FOLDER}/trailer_bbb.mp4"
INNER_ZIP = f"{FOLDER}/moviepy_10_minutes.zip"
FILM = "moviepy_10_minutes/resources/bbb.mp4"

X264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
# Untagged pictures are colour-converted by players and by comparison graphs, so every clip says what it is.
BT709 = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]

# name: (file, what it is, ffmpeg's input arguments, output arguments)
CLIPS = {
    "bbb": ("bbb.mp4", "1280x720 24 fps 596 s H.264 + AAC, as published", None, None),
    "trailer": ("trailer_bbb.mp4", "the trailer, 55 s, H.264 + MP3 audio, as published", None, None),
    "demo": (
        "bbb_720p_20s.mp4",
        "20 s of bbb for the demo, 1280x720 24 fps H.264 + AAC",
        ["-ss", "60", "-i", "{bbb}"],
        ["-t", "20", *X264, "-crf", "18", *BT709, "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"],
    ),
    "small": (
        "bbb_360p_5s.mp4",
        "5 s of bbb for tests, 640x360 24 fps H.264 + AAC",
        ["-ss", "70", "-i", "{bbb}"],
        ["-t", "5", "-vf", "scale=640:360", *X264, "-crf", "20", "-g", "48", *BT709, "-c:a", "aac", "-b:a", "96k"],
    ),
    "bench": (
        "bbb_1080p_60s.mp4",
        "60 s of bbb scaled up to 1920x1080 30 fps H.264, no audio: the ladder benchmark's source",
        ["-ss", "60", "-i", "{bbb}"],
        [
            *["-t", "60", "-an", "-vf", "scale=1920:1080:flags=bicubic,fps=30", *X264, *BT709],
            # Conforms to a ladder's top rung (5000 kbit/s, key frames every 2 s), so that it may be copied.
            *["-b:v", "5000k", "-maxrate", "5000k", "-bufsize", "10000k"],
            *["-g", "60", "-keyint_min", "60", "-sc_threshold", "0"],
        ],
    ),
    "synthetic": (
        "synthetic_1080p_20s.mp4",
        "20 s of a moving test pattern with noise, 1920x1080 30 fps H.264, no audio",
        ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30"],
        ["-t", "20", "-vf", "noise=alls=8:allf=t", *X264, "-b:v", "8000k", "-g", "60", *BT709],
    ),
}


def cache_dir() -> pathlib.Path:
    base = os.environ.get("GS_CACHE_DIR")
    if not base:
        base = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ghoststream"
    return pathlib.Path(base) / "footage"


def pip_setting(name: str) -> str | None:
    """What pip is configured to use, from its environment or files."""
    value = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    if value:
        return value
    for section in ("global", "install", "download"):
        found = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", f"{section}.{name}"], capture_output=True, text=True
        )
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.strip()
    return None


def index_url() -> str:
    url = pip_setting("index-url")
    if url:
        return url
    from pip._internal.models.index import PyPI  # pip's own default

    return PyPI.simple_url


class Links(html.parser.HTMLParser):
    """The links of an index page in its HTML form: file name to address."""

    def __init__(self, base: str):
        super().__init__()
        self.base, self.found = base, {}

    def handle_starttag(self, tag, attrs):
        href = dict(attrs).get("href") if tag == "a" else None
        if href:
            url = urllib.parse.urljoin(self.base, href)
            path = urllib.parse.urlsplit(url).path
            self.found[urllib.parse.unquote(path.rsplit("/", 1)[-1])] = url


def archive_url(open_url) -> str:
    base = index_url().rstrip("/") + f"/{PACKAGE}/"
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    with open_url(urllib.request.Request(base, headers={"Accept": accept})) as page:
        body, kind = page.read(), page.headers.get("Content-Type", "")
    if "json" in kind:
        links = {f["filename"]: urllib.parse.urljoin(base, f["url"]) for f in json.loads(body)["files"]}
    else:
        parser = Links(base)
        parser.feed(body.decode("utf-8", "replace"))
        links = parser.found
    if ARCHIVE not in links:
        raise SystemExit(f"footage: the package index does not list {ARCHIVE}")
    return links[ARCHIVE]


def fetch_originals(folder: pathlib.Path) -> None:
    context = ssl.create_default_context(cafile=pip_setting("cert"))

    def open_url(request):
        return urllib.request.urlopen(request, timeout=180, context=context)

    print("footage: fetching Big Buck Bunny (57 MB, once)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive = pathlib.Path(scratch) / ARCHIVE
        digest = hashlib.sha256()
        with open_url(archive_url(open_url)) as answer, archive.open("wb") as out:
            while chunk := answer.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != ARCHIVE_SHA256:
            raise SystemExit(f"footage: {ARCHIVE} has SHA-256 {digest.hexdigest()}, expected {ARCHIVE_SHA256}")
        with tarfile.open(archive) as tar:
            top = ARCHIVE.removesuffix(".tar.gz")
            keep(tar.extractfile(f"{top}/{TRAILER}"), folder / "trailer_bbb.mp4")
            inner = pathlib.Path(scratch) / "inner.zip"
            keep(tar.extractfile(f"{top}/{INNER_ZIP}"), inner)
        with zipfile.ZipFile(inner) as bundle, bundle.open(FILM) as film:
            keep(film, folder / "bbb.mp4")


def keep(source, path: pathlib.Path) -> None:
    """Writes what `source` reads to `path`, which appears only when it is whole."""
    part = path.with_name("part-" + path.name)
    with part.open("wb") as out:
        shutil.copyfileobj(source, out)
    part.replace(path)


def make(folder: pathlib.Path, name: str) -> pathlib.Path:
    file, what, source, settings = CLIPS[name]
    path = folder / file
    if path.exists():
        return path
    if source is None:
        fetch_originals(folder)
        return path
    uses_bbb = any("{bbb}" in part for part in source)
    bbb = make(folder, "bbb") if uses_bbb else ""
    print(f"footage: making {file}: {what}", file=sys.stderr)
    part = path.with_name("part-" + file)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *(s.format(bbb=bbb) for s in source), *settings, str(part)]
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CLIPS))
    parser.add_argument("--list", action="store_true", help="print the names and what they are")
    options = parser.parse_args()
    if options.list or not options.names:
        for name, (file, what, *_) in CLIPS.items():
            print(f"{name:10} {file:26} {what}")
        print(CREDIT)
        return
    for name in options.names:
        if name not in CLIPS:
            parser.error(f"no clip is called {name}; there are: {', '.join(CLIPS)}")
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    print(CREDIT, file=sys.stderr)
    with contextlib.ExitStack() as stack:
        if fcntl:
            lock = stack.enter_context((folder / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        for name in options.names:
            print(make(folder, name))


if __name__ == "__main__":
    main()

"""Measures ghoststream against FFmpeg and PyAV in alternating runs and writes a table.

    make bench                                        everything; the table goes to target/bench
    make bench BENCH="--cases ladder,remux --rounds 5"
    make bench BENCH="--seconds 10"                   shorter clips, for a look

In each round every tool runs once, in an order that changes from round to round, so that what else the machine
does falls on all of them. Ratios are medians of the rounds' own ratios. Nothing is asserted: the table is for people.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

import measure
import peers
import python_frames
import quality

HERE = pathlib.Path(__file__).resolve().parent
CASES = {
    "ladder": "1080p clip to four x264 veryfast rungs (5000/2800/1400/800 kbit/s), fMP4 HLS",
    "ladder-copy": "the same with the top rung copied",
    "first-segment": "start of the job to the first closed segment of that ladder",
    "synthetic": "the ladder from a synthetic 1080p clip with noise",
    "transcode": "1080p clip to one x264 veryfast CRF 23 MP4",
    "remux": "596 s of 720p MP4 to Matroska, copied",
    "python": "decode to numpy and encode from numpy",
    "memory": "resident memory over ten minutes of media, looped",
    "capture": "a captured screen, its latency, a virtual camera and a replay, beside wf-recorder and GStreamer",
    "seek": "the server: seeks to segments that are not made, and starts, over respawned FFmpeg",
    "first-frame": "the server: a request to the first picture that a browser paints, over a spawned FFmpeg",
    "viewers": "the server: 200 viewers of finished segments, over nginx",
    "sockets": "the server: 1000 WebSocket clients on 50 jobs",
    "overhead": "the server: CPU of one transcode, over the bare command",
    "live-delay": "the live origin: RTMP in to RTMP out, over the same without a server between",
    "live-streams": "the live origin: CPU of 50 copied streams at once, beside MediaMTX and multimux where GS_MEDIAMTX and GS_MULTIMUX say where they are",
    "live-memory": "the live origin: memory while viewers of ten streams come and go",
    "live-latency": "the live origin: how far behind hls.js, shaka, dash.js and WHEP are over a minute, beside multimux",
    "nvenc": "time around NVENC a frame on the stand-in driver, over FFmpeg's wrapper",
}


def footage(name: str) -> pathlib.Path:
    script = HERE.parent / "setup" / "footage.py"
    answer = subprocess.run([sys.executable, str(script), name], check=True, capture_output=True, text=True)
    return pathlib.Path(answer.stdout.strip())


def tools() -> list[peers.Tool]:
    """ghoststream and the FFmpegs that are there; GS_CLI, GS_FFMPEG9 and the path say where."""
    found = []
    places = [
        ("ghoststream", os.environ.get("GS_CLI"), "ghoststream"),
        ("FFmpeg (system)", shutil.which("ffmpeg"), "ffmpeg"),
        ("FFmpeg 9", os.environ.get("GS_FFMPEG9"), "ffmpeg"),
    ]
    for name, path, dialect in places:
        if not path or not pathlib.Path(path).exists():
            print(f"bench: {name} is missing and is left out", file=sys.stderr)
            continue
        found.append(peers.Tool(name, path, dialect))
    return found


class Bench:
    def __init__(self, options: argparse.Namespace, found: list[peers.Tool]):
        self.rounds = options.rounds
        self.seconds = options.seconds
        self.judge = options.quality
        self.out: pathlib.Path = options.out
        self.tools = found
        self.results: dict = {}

    def script(self, case: str, command: list[str]) -> None:
        """A benchmark of its own, which prints its table."""
        command = [sys.executable, str(HERE / command[0]), *command[1:]]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        result = {"what": CASES[case], "text": run.stdout}
        if run.returncode != 0:
            result["failed"] = {command[1]: f"exit code {run.returncode}"}
        self.results[case] = result

    def clip(self, name: str) -> pathlib.Path:
        """The clip, cut to --seconds where that is asked for, and read once so that the first run has it cached."""
        path = footage(name)
        if self.seconds:
            cut = self.out / f"{path.stem}-{self.seconds}s.mp4"
            command = ["ffmpeg", "-nostdin", "-y", "-v", "error", "-i", str(path), "-t", str(self.seconds)]
            subprocess.run([*command, "-map", "0", "-c", "copy", str(cut)], check=True, stdin=subprocess.DEVNULL)
            path = cut
        path.read_bytes()
        return path

    def alternate(self, case: str, job, watch: bool = False, after=None) -> dict[str, list[measure.Run]]:
        """Runs `job(tool, folder)` for every tool in every round; a tool that fails is reported and left out."""
        runs: dict[str, list[measure.Run]] = {tool.name: [] for tool in self.tools}
        failed: dict[str, str] = {}
        for n in range(self.rounds):
            turn = n % len(self.tools)
            for tool in self.tools[turn:] + self.tools[:turn]:
                if tool.name in failed:
                    continue
                folder = self.out / "work" / case / tool.name.replace(" ", "_")
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                try:
                    argv = job(tool, folder)
                    done = measure.run(argv, folder if watch else None)
                except measure.Failed as failure:
                    failed[tool.name] = str(failure)
                    print(f"bench: {case}: {failure}", file=sys.stderr)
                    continue
                runs[tool.name].append(done)
                print(
                    f"  {case} {n + 1}/{self.rounds} {tool.name}: {done.wall:.2f} s, CPU {done.cpu:.2f} s, "
                    f"{done.rss:.0f} MiB",
                    file=sys.stderr,
                )
                if after and n == 0:
                    after(tool, folder)
        self.results.setdefault(case, {"what": CASES[case]})["failed"] = failed
        return {name: r for name, r in runs.items() if r}

    def cost(self, case: str, job, after=None) -> None:
        runs = self.alternate(case, job, after=after)
        self.results[case]["runs"] = {
            name: [{"wall": r.wall, "cpu": r.cpu, "rss": r.rss} for r in them] for name, them in runs.items()
        }

    def ladder(self, case: str, clip: str, job) -> None:
        source = self.clip(clip)
        rows: dict[str, list[dict]] = {}

        def judge(tool: peers.Tool, folder: pathlib.Path) -> None:
            rows[tool.name] = quality.ladder(os.environ["GS_FFMPEG9"], folder, source)

        self.cost(case, lambda tool, folder: job(tool, folder, source), judge if self.judge else None)
        self.results[case]["quality"] = rows

    def first_segment(self) -> None:
        source = self.clip("bench")
        runs = self.alternate("first-segment", lambda t, folder: peers.ladder(t, folder, source), watch=True)
        table: dict[str, list[dict]] = {}
        for name, them in runs.items():
            for r in them:
                closed = [(at, path) for at, path in r.extra["closed"] if path.endswith(".m4s") and "init" not in path]
                # Rungs differ by the folder or by the name before the segment's number.
                first: dict[str, float] = {}
                for at, path in closed:
                    stem = path[: -len(".m4s")].rstrip("0123456789")
                    first.setdefault(stem, at)
                if not first:
                    continue
                table.setdefault(name, []).append({"first": min(first.values()), "all": max(first.values())})
        self.results["first-segment"]["runs"] = table

    def python(self) -> None:
        clip = self.clip("demo")
        sides = ["av", "av-tuned"]
        if subprocess.run([sys.executable, "-c", "import ghoststream"], capture_output=True).returncode == 0:
            sides.insert(0, "ghoststream")
        # numpy's threads spin for a while after they are made, which would count as ours.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        script = str(HERE / "python_frames.py")
        table: dict[str, dict[str, list[dict]]] = {}
        failed: dict[str, str] = {}
        for n in range(self.rounds):
            turn = n % len(sides)
            for what in python_frames.CASES:
                for side in sides[turn:] + sides[:turn]:
                    argv = [sys.executable, script, side, what, str(clip)]
                    answer = subprocess.run(
                        argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
                    )
                    if answer.returncode != 0:
                        failed[f"{side} ({what})"] = answer.stderr.strip()
                        continue
                    table.setdefault(what, {}).setdefault(side, []).append(json.loads(answer.stdout))
        self.results["python"] = {"what": CASES["python"], "runs": table, "failed": failed}

    def capture(self) -> None:
        import capture

        found = capture.run(self.out / "work" / "capture", self.seconds or 10, self.rounds, capture.CASES)
        self.results["capture"] = {"what": CASES["capture"], **found}

    def memory(self, minutes: float) -> None:
        clip = footage("small")
        times = max(2, round(minutes * 60 / 5))
        rows = {}
        for tool in self.tools:
            folder = self.out / "work" / "memory" / tool.name.replace(" ", "_")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                done = measure.run(peers.looped(tool, folder, clip, times), sample_memory=True)
                samples = done.extra["memory"]
                rows[tool.name] = {
                    "slope_mib_per_minute": measure.slope(samples),
                    "growth_mib": samples[-1][1] - samples[len(samples) // 2][1],
                    "peak_mib": done.rss,
                    "wall": done.wall,
                    "samples": samples,
                }
            except measure.Failed as failure:
                print(f"bench: memory: {failure}", file=sys.stderr)
                rows[tool.name] = {"failed": str(failure)}
            shutil.rmtree(folder, ignore_errors=True)
        self.results["memory"] = {"what": f"{CASES['memory']} ({times} x 5 s)", "runs": rows}


def machine(found: list[peers.Tool]) -> dict:
    cpu = platform.processor()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "load_at_start": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "tools": {tool.name: tool.version() for tool in found},
    }


def middle(rows: list[dict], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def ratio(mine: list[dict], theirs: list[dict], key: str) -> str:
    """The median of the rounds' ratios, and their span."""
    pairs = [a[key] / b[key] for a, b in zip(mine, theirs) if b[key]]
    if not pairs:
        return "–"
    return f"**{statistics.median(pairs):.2f}** ({min(pairs):.2f}–{max(pairs):.2f})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def markdown(facts: dict, results: dict, rounds: int) -> str:
    lines = ["# Benchmarks", ""]
    lines.append(
        f"{facts['date']}, {facts['cpu']}, {facts['cores']} cores, load {facts['load_at_start']:.2f} at the start; "
        f"medians of {rounds} alternating rounds. CPU is user + system. A ratio is ghoststream's figure over the "
        "other's, the median of the rounds' ratios (lowest–highest)."
    )
    if facts["cut_to"]:
        lines.append(f"Clips were cut to {facts['cut_to']} s.")
    lines += [""] + [f"- {name}: `{version}`" for name, version in facts["tools"].items()] + [""]
    lines += summary(results)
    for case, result in results.items():
        lines += [f"## {case}: {result['what']}", ""]
        runs = result.get("runs", {})
        mine = runs.get("ghoststream")
        if case == "capture":
            import capture

            lines += capture.table(result)
        elif "text" in result:
            lines += [result["text"]]
        elif case == "python":
            lines += python_table(runs)
        elif case == "memory":
            rows = [
                [name, "failed", "", ""]
                if "failed" in row
                else [
                    name, f"{row['slope_mib_per_minute']:+.2f} MiB/min", f"{row['growth_mib']:+.1f} MiB",
                    f"{row['peak_mib']:.0f} MiB",
                ]
                for name, row in runs.items()
            ]
            lines += table(["tool", "slope, second half", "growth, second half", "peak"], rows)
        else:
            keys = ["first", "all"] if case == "first-segment" else ["wall", "cpu", "rss"]
            heads = {
                "first": "first rung", "all": "all rungs", "wall": "wall", "cpu": "CPU", "rss": "peak memory",
            }
            rows = []
            for name, them in runs.items():
                row = [name] + [
                    f"{middle(them, key):.0f} MiB" if key == "rss" else f"{middle(them, key):.2f} s" for key in keys
                ]
                for key in keys:
                    row.append(ratio(mine, them, key) if mine and name != "ghoststream" else "")
                rows.append(row)
            lines += table(["tool", *(heads[k] for k in keys), *(f"ratio, {heads[k]}" for k in keys)], rows)
        if result.get("quality"):
            rows = [
                [name, f"{q['height']}p", f"{q['kbps']:.0f}", f"{q['vmaf']:.2f}", f"{q['psnr_y']:.2f}", f"{q['frames']}"]
                for name, them in result["quality"].items()
                for q in them
            ]
            lines += table(["tool", "rung", "kbit/s", "VMAF", "PSNR Y (dB)", "frames"], rows)
        for name, why in result.get("failed", {}).items():
            lines += [f"{name} failed: `{why.splitlines()[-1] if why else ''}`", ""]
    return "\n".join(lines)


def summary(results: dict) -> list[str]:
    """ghoststream's figures over each peer's, one row a claim; empty without ghoststream."""

    def runs(case: str, name: str) -> list[dict]:
        return results.get(case, {}).get("runs", {}).get(name, [])

    claims = [
        ("ladder, CPU", "ladder", "ladder", "cpu"),
        ("ladder, wall", "ladder", "ladder", "wall"),
        ("ladder, peak memory", "ladder", "ladder", "rss"),
        ("ladder with the top rung copied against the whole ladder encoded, CPU", "ladder-copy", "ladder", "cpu"),
        ("ladder with the top rung copied, CPU", "ladder-copy", "ladder-copy", "cpu"),
        ("first segment closed, any rung", "first-segment", "first-segment", "first"),
        ("first segment closed, all rungs", "first-segment", "first-segment", "all"),
        ("single transcode, CPU", "transcode", "transcode", "cpu"),
        ("single transcode, wall", "transcode", "transcode", "wall"),
        ("remux, wall", "remux", "remux", "wall"),
    ]
    names = [n for n in results.get("ladder", {}).get("runs", {}) if n != "ghoststream"] or ["FFmpeg (system)", "FFmpeg 9"]
    rows = []
    for what, mine, theirs, key in claims:
        if runs(mine, "ghoststream"):
            rows.append([what, *(ratio(runs(mine, "ghoststream"), runs(theirs, n), key) for n in names)])
    return table(["ghoststream over", *names], rows) if rows else []


def python_table(runs: dict) -> list[str]:
    rows = []
    for what, sides in runs.items():
        for side, them in sides.items():
            row = [what, side, f"{middle(them, 'fps'):.1f}", f"{middle(them, 'cpu_ms_per_frame'):.2f}"]
            for key in ("fps", "cpu_ms_per_frame"):
                compared = side != "ghoststream" and "ghoststream" in sides
                row.append(ratio(sides["ghoststream"], them, key) if compared else "")
            rows.append(row)
    lines = table(["job", "package", "frames/s", "CPU ms a frame", "ratio, frames/s", "ratio, CPU"], rows)
    lines += [f"- {what}: {text}" for what, text in python_frames.CASES.items()]
    return [*lines, "", "`av` is PyAV as documented, `av-tuned` with everything that makes it faster (python_frames.py).", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=0, help="cut the clips to this length")
    parser.add_argument("--minutes", type=float, default=10, help="media minutes of the memory case")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/bench"))
    parser.add_argument("--no-quality", dest="quality", action="store_false", help="leave VMAF and PSNR out")
    options = parser.parse_args()
    wanted = options.cases.split(",")
    for case in wanted:
        if case not in CASES:
            parser.error(f"there is no case {case}")
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.quality and not os.environ.get("GS_FFMPEG9"):
        print("bench: no FFmpeg 9, so no VMAF", file=sys.stderr)
        options.quality = False

    found = tools()
    facts = {**machine(found), "cut_to": options.seconds}
    bench = Bench(options, found)
    jobs = {
        "ladder": lambda: bench.ladder("ladder", "bench", peers.ladder),
        "ladder-copy": lambda: bench.ladder("ladder-copy", "bench", peers.ladder_copy),
        "first-segment": bench.first_segment,
        "synthetic": lambda: bench.ladder("synthetic", "synthetic", peers.ladder),
        "transcode": lambda: bench.cost("transcode", lambda_with_clip(bench, "bench", peers.transcode)),
        "remux": lambda: bench.cost("remux", lambda_with_clip(bench, "bbb", peers.remux)),
        "python": bench.python,
        "memory": lambda: bench.memory(options.minutes),
        "capture": bench.capture,
        "seek": lambda: bench.script("seek", ["seek.py", str(bench.clip("bbb")), "--out", str(options.out / "seek")]),
        "first-frame": lambda: bench.script(
            "first-frame", ["first_frame.py", str(bench.clip("bbb")), "--out", str(options.out / "first-frame")]
        ),
        "nvenc": lambda: bench.script("nvenc", ["nvenc.py"]),
    }
    for case in ("viewers", "sockets", "overhead"):
        command = ["load.py", case, "--rounds", str(options.rounds), "--out", str(options.out)]
        jobs[case] = lambda case=case, command=command: bench.script(case, command)
    for case in ("live-delay", "live-streams", "live-memory", "live-latency"):
        command = ["live.py", case.removeprefix("live-"), "--rounds", str(options.rounds), "--out", str(options.out)]
        jobs[case] = lambda case=case, command=command: bench.script(case, command)
    for case in (c for c in CASES if c in wanted):
        print(f"bench: {case}: {CASES[case]}", file=sys.stderr)
        jobs[case]()
        # Written after every case, so that a run that is cut short still leaves what it measured.
        (options.out / "bench.json").write_text(json.dumps({"machine": facts, "results": bench.results}, indent=1))
        (options.out / "bench.md").write_text(markdown(facts, bench.results, options.rounds))
    shutil.rmtree(options.out / "work", ignore_errors=True)
    print((options.out / "bench.md").read_text())
    print(f"written to {options.out}/bench.md and bench.json")


def lambda_with_clip(bench: Bench, clip: str, job):
    source = bench.clip(clip)
    return lambda tool, folder: job(tool, folder, source)


if __name__ == "__main__":
    main()

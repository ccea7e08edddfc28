"""A file that pictures and sound are written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from types import TracebackType
from typing import Any

from . import _native
from ._encoder import pipeline_of, rate_of, raw_video
from ._errors import Invalid, State
from ._frame import Frame
from ._job import Done, Job, Pipeline

_RAW_SAMPLES = {"u8", "s16", "s32", "flt", "dbl"}


class Writer:
    """Encodes pictures (and sound) into a file; made by ``gs.open(path, "w")``::

        with gs.open("film.mp4", "w", fps=25, crf=20) as film:
            for picture in pictures:
                film.write(picture)

    Leaving the block finishes the file; an exception removes it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float | str | Fraction = 30,
        codec: str | None = None,
        pixel_format: str | None = None,
        sample_rate: int | None = None,
        audio: str | Mapping[str, Any] | None = None,
        video: bool = True,
        format: str | None = None,
        colour: Mapping[str, str] | None = None,
        overwrite: bool = False,
        fragmented: bool = False,
        metadata: Mapping[str, str] | None = None,
        fallback: bool = True,
        **options: Any,
    ) -> None:
        """``sample_rate`` says that there will be sound; ``audio`` is its codec or an audio track of the job document.
        ``codec`` and the further options are the fields of a video track. ``pixel_format`` is that of arrays whose
        shape does not tell it."""
        self._rate = rate_of(fps)
        self._pixel_format = pixel_format
        self._sample_rate = sample_rate
        self._colour = colour
        self._video = video
        if not video and sample_rate is None:
            raise Invalid("sample_rate: needed for a file without pictures")
        self._output: dict[str, Any] = {"path": os.fspath(path), "overwrite": overwrite, "fragmented": fragmented}
        self._output["subtitles"] = False
        if codec is not None:
            options["codec"] = codec
        if options and not video:
            raise Invalid(f"{next(iter(options))}: makes no sense without pictures")
        if not video:
            self._output["video"] = False
        elif options:
            self._output["video"] = options
        if sample_rate is None:
            self._output["audio"] = False
        elif audio is not None:
            self._output["audio"] = {"codec": audio} if isinstance(audio, str) else dict(audio)
        if format is not None:
            self._output["format"] = format
        if metadata is not None:
            self._output["metadata"] = dict(metadata)
        self._fallback = fallback
        self._job: Job | None = None
        self._closed = False
        self._count = 0
        self._samples = 0
        self._waiting: list[Frame] = []
        self._pool = _native.Pool()
        # A wrong option is told here, not with the first picture.
        shape = raw_video(64, 64, "yuv420p", self._rate, colour) if video else None
        sound = {"sample_rate": sample_rate, "channels": 2, "format": "s16"} if sample_rate else None
        self._pipeline(shape, sound)

    def _pipeline(self, video: Mapping[str, Any] | None, audio: Mapping[str, Any] | None) -> Pipeline:
        frames = {key: value for key, value in (("video", video), ("audio", audio)) if value is not None}
        return pipeline_of({"source": {"frames": frames}, "outputs": [self._output], "fallback": self._fallback})

    @property
    def job(self) -> Job | None:
        """The job behind it, once it has begun: statistics, events."""
        return self._job

    def write(self, frame: Frame | Any, *, pts: int | None = None, key_frame: bool = False) -> None:
        """Writes a picture: an array (copied) or a :class:`Frame`. ``pts`` counts in ``1 / fps``; without it (and without
        one in the frame) pictures follow one another. One that does not come after the one before it is moved behind that,
        which a warning event tells once, or fails the file with ``fallback=False``."""
        if not isinstance(frame, Frame):
            frame = Frame._of_array(frame, self._pixel_format, None, None, self._pool)
        if not frame.is_video:
            return self._put(frame)
        if not self._video:
            raise State("the file was opened without pictures")
        if pts is not None:
            self._count = pts
        if pts is not None or frame.pts is None:
            frame = frame._timed(self._count, 1 / self._rate, key_frame, 1)
            self._count += 1
        elif key_frame:
            frame = frame._timed(frame.pts, frame.time_base, True, frame._inner.duration)
        self._put(frame)

    def write_audio(self, samples: Any) -> None:
        """Writes sound that follows what was written before: an array of samples by channels (copied)."""
        if self._sample_rate is None:
            raise State("the file was opened without sample_rate")
        frame = Frame.from_samples(samples, self._sample_rate, pts=self._samples)
        self._samples += frame.samples
        self._put(frame)

    def _put(self, frame: Frame) -> None:
        if self._closed:
            raise State("the file is closed")
        if not frame.is_video and self._sample_rate is None:
            raise State("the file was opened without sample_rate")
        if self._job is None:
            self._waiting.append(frame)
            self._begin()
        else:
            self._job.push_frame(frame)

    def _begin(self, force: bool = False) -> None:
        """Starts the job when there is a frame of each kind, which tells size and format."""
        picture = next((f for f in self._waiting if f.is_video), None)
        sound = next((f for f in self._waiting if not f.is_video), None)
        missing = (self._video and picture is None) or (self._sample_rate is not None and sound is None)
        if missing and not force:
            return
        video = audio = None
        if self._video and picture is not None:
            video = raw_video(picture.width, picture.height, picture.format, self._rate, self._colour)
        if sound is not None:
            audio = {"sample_rate": sound.sample_rate, "channels": sound.channels, "format": sound.format}
        if video is None:
            self._output["video"] = False
        if audio is None:
            self._output["audio"] = False
        self._job = self._pipeline(video, audio).start()
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self._job.push_frame(frame)

    def close(self) -> Done | None:
        """Finishes the file and waits for it; ``None`` when nothing was written. Raises the job's failure."""
        if self._closed:
            return None
        if self._job is None and self._waiting:
            self._begin(force=True)
        self._closed = True
        if self._job is None:
            return None
        with self._job as job:
            job.finish_input()
            return job.wait()

    def cancel(self) -> None:
        """Ends at once and removes what was written."""
        self._closed = True
        if self._job is not None:
            self._job._abandon()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.cancel()

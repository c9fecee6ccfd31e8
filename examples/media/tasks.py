"""Audio, piece by piece, with progress."""

import array
import sys
import wave

from umbel import Umbel

app = Umbel("media")
PIECE = 4096


@app.task(bind=True)
def make_quieter(self, source: str, target: str, factor: float) -> dict:
    """Write ``source`` (WAV, 16 bit) to ``target`` with its samples times ``factor``."""
    with wave.open(source, "rb") as read, wave.open(target, "wb") as write:
        if read.getsampwidth() != 2:
            raise ValueError(f"{source} has {8 * read.getsampwidth()} bits a sample; 16 are read")
        write.setparams(read.getparams())
        total, done, loudest = read.getnframes(), 0, 0
        while frames := read.readframes(PIECE):
            samples = array.array("h", frames)
            if sys.byteorder == "big":
                samples.byteswap()
            for index, sample in enumerate(samples):
                samples[index] = max(-32768, min(32767, round(sample * factor)))
            loudest = max(loudest, *map(abs, samples))
            if sys.byteorder == "big":
                samples.byteswap()
            write.writeframes(samples.tobytes())
            done += len(frames) // (2 * read.getnchannels())
            self.update_state(state="PROGRESS", meta={"done": done, "total": total})
    return {"frames": done, "loudest": loudest}

#!/usr/bin/env python3
"""Makes kernels.ptx of the .cu and .cuh files with NVRTC (PyPI nvidia-cuda-nvrtc-cu12); needs no GPU.

    generate.py            rewrite kernels.ptx
    generate.py --check    compare it; exit code 1 when it differs, 77 when NVRTC is not installed

PTX for compute_75 runs on every GPU from Turing on. NVRTC's version decides the version of the PTX language and so the
oldest driver that takes it; 12.2 means driver 535.
"""

import ctypes
import importlib.util
import pathlib
import sys

ARCHITECTURE = "compute_75"
VERSION = (12, 2)
HERE = pathlib.Path(__file__).parent


def nvrtc():
    """The library, or None."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else []:
        for path in pathlib.Path(folder).glob("cuda_nvrtc/lib/libnvrtc.so.*"):
            return ctypes.CDLL(str(path))
    return None


def compile(library):
    def call(name, *arguments):
        code = getattr(library, name)(*arguments)
        if code:
            raise RuntimeError(f"{name}: error {code}")

    major, minor = ctypes.c_int(), ctypes.c_int()
    call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    if (major.value, minor.value) != VERSION:
        raise RuntimeError(f"NVRTC is {major.value}.{minor.value}, not {VERSION[0]}.{VERSION[1]}")
    headers = sorted(HERE.glob("*.cuh"))
    count = len(headers)
    texts = (ctypes.c_char_p * count)(*(h.read_bytes() for h in headers))
    names = (ctypes.c_char_p * count)(*(h.name.encode() for h in headers))
    program = ctypes.c_void_p()
    source = (HERE / "kernels.cu").read_bytes()
    call("nvrtcCreateProgram", ctypes.byref(program), source, b"kernels.cu", count, texts, names)
    options = [f"--gpu-architecture={ARCHITECTURE}", "--std=c++17"]
    pointers = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    failed = library.nvrtcCompileProgram(program, len(options), pointers)
    size = ctypes.c_size_t()
    call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    call("nvrtcGetProgramLog", program, log)
    if failed or log.value.strip():
        raise RuntimeError(log.value.decode())
    call("nvrtcGetPTXSize", program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    call("nvrtcGetPTX", program, ptx)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    # NVRTC says which build of it this is; what it makes does not depend on that.
    lines = (line.rstrip() for line in ptx.value.decode().splitlines())
    return "\n".join(line for line in lines if not line.startswith("//")).strip() + "\n"


def main():
    check = sys.argv[1:] == ["--check"]
    if not check and sys.argv[1:]:
        sys.exit(__doc__)
    library = nvrtc()
    if library is None:
        print("generate: SKIPPED: kernels.ptx: nvidia-cuda-nvrtc-cu12 is not installed", file=sys.stderr)
        sys.exit(77)
    target = HERE / "kernels.ptx"
    made = compile(library)
    if check:
        if not target.exists() or target.read_text() != made:
            sys.exit("kernels.ptx is not what kernels.cu makes: run make generate")
        return
    target.write_text(made)


main()

"""Addresses of parameters and gradients in one native call; the readable twin is `surefoot.torch._plan.addresses`.

Before a kernel may run, every parameter and every gradient must be asked, at every step, whether it is what it was: the
same size and type, dense, contiguous, on the CPU, and where it lies. In Python that costs a microsecond a parameter,
more than the step itself for a model of many small tensors. Here a few lines of C++ ask torch's own C functions (those
that its ahead-of-time compiler links to). What is not promised by torch, where a Python tensor keeps its C++ one and the
name of one C++ function, is looked up and proven on sample tensors before it is used; where that fails, or torch is
another, the twin in Python does the work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import torch
from surefoot.kernels import CannotBuild, load
from torch import Tensor

TEXT = """\
// Made by surefoot: addresses of tensors and of their gradients.
#include <cstdint>
struct Torch {
    int32_t (*defined)(void*, bool*);
    int32_t (*dtype)(void*, int32_t*);
    int32_t (*device)(void*, int32_t*);
    int32_t (*layout)(void*, int32_t*);
    int32_t (*numel)(void*, int64_t*);
    int32_t (*contiguous)(void*, bool*);
    int32_t (*address)(void*, void**);
    const void* (*gradient)(const void*);
    void (*bump)(void*);
};
// A tensor (at::Tensor) is one pointer to its implementation; a Python tensor keeps that pointer `offset` bytes in.
static inline bool is_defined(const Torch* torch, void* tensor) {
    bool yes = false;
    return torch->defined(tensor, &yes) == 0 && yes;
}
static inline uint64_t address(const Torch* torch, void* tensor, int64_t size, const int32_t* wanted) {
    int32_t found = -1;
    int64_t numel = -1;
    bool yes = false;
    void* at = nullptr;
    if (torch->layout(tensor, &found) || found != wanted[0]) return 0;
    if (torch->device(tensor, &found) || found != wanted[1]) return 0;
    if (torch->dtype(tensor, &found) || found != wanted[2]) return 0;
    if (torch->numel(tensor, &numel) || numel != size) return 0;
    if (torch->contiguous(tensor, &yes) || !yes) return 0;
    return torch->address(tensor, &at) ? 0 : (uint64_t)at;
}
// Fill the first two columns of `pointers`; return how many rows were filled, `count` if all tensors are as wanted.
extern "C" int64_t gather(const Torch* torch, int64_t offset, const int32_t* wanted, void* const* objects,
                          const int64_t* sizes, int64_t count, uint64_t* pointers, int64_t width) {
    for (int64_t i = 0; i < count; ++i) {
        void* own = *(void**)((char*)objects[i] + offset);
        void* gradient = (void*)torch->gradient(own);
        if (!is_defined(torch, gradient)) return i;
        const uint64_t x = address(torch, &own, sizes[i], wanted), g = address(torch, gradient, sizes[i], wanted);
        if (x == 0 || g == 0) return i;
        pointers[i * width] = x;
        pointers[i * width + 1] = g;
    }
    return count;
}
// Count one more change of each, so that a backward pass through old values fails; return whether all could be counted.
extern "C" int32_t bump(const Torch* torch, int64_t offset, void* const* objects, int64_t count) {
    try {
        for (int64_t i = 0; i < count; ++i) torch->bump((char*)objects[i] + offset);
        return 1;
    } catch (...) {
        return 0;
    }
}
// Whether none of these has a gradient.
extern "C" int32_t absent(const Torch* torch, int64_t offset, void* const* objects, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
        if (is_defined(torch, (void*)torch->gradient(*(void**)((char*)objects[i] + offset)))) return 0;
    return 1;
}
"""

_NAMES = ("is_defined", "get_dtype", "get_device_type", "get_layout", "get_numel", "is_contiguous", "get_data_ptr")
_GRADIENT = "_ZNK3c1010TensorImpl4gradEv"  # c10::TensorImpl::grad() const
_BUMP = "_ZN5torch8autograd4impl12bump_versionERKN2at6TensorE"  # torch::autograd::impl::bump_version(const Tensor&)


class Gatherer:
    """Where some parameters lie, and the count of their changes, natively.

    Args:
        native: from `native()`.
        parameters: all of one type; whoever keeps this keeps them alive.
        pointers: [parameter, array]; the first two columns are filled in.
    """

    __slots__ = ("_arguments", "_keep", "_native", "_objects")

    def __init__(self, native: _Native, parameters: list[Tensor], pointers: Any) -> None:
        objects = np.array([id(p) for p in parameters], dtype=np.uint64)
        sizes = np.array([p.numel() for p in parameters], dtype=np.int64)
        wanted = np.array([*native.place, native.types[parameters[0].dtype]], dtype=np.int32)
        self._keep = (objects, sizes, wanted, pointers)
        self._native, self._objects = native, (native.table, native.offset, objects.ctypes.data, len(parameters))
        where = (objects.ctypes.data, sizes.ctypes.data, len(parameters), pointers.ctypes.data, pointers.shape[1])
        self._arguments = (native.table, native.offset, wanted.ctypes.data, *where)

    def __call__(self) -> bool:
        """Fill in the addresses; False if a tensor is not what it was, or has no gradient."""
        return self._native.gather(*self._arguments) == self._objects[3]

    def bump(self) -> bool:
        """Count one more change of every parameter; False if that cannot be counted here."""
        return bool(self._native.bump(*self._objects))


class _Native:
    """torch's C functions, where a Python tensor keeps its C++ one, and the compiled text above."""

    def __init__(self) -> None:
        folder = Path(torch.__file__).parent / "lib"
        functions = ctypes.CDLL(str(folder / "libtorch_cpu.so"))
        core = ctypes.CDLL(str(folder / "libc10.so"))
        pointers = [ctypes.cast(getattr(functions, f"aoti_torch_{name}"), ctypes.c_void_p) for name in _NAMES]
        pointers.append(ctypes.cast(getattr(core, _GRADIENT), ctypes.c_void_p))
        pointers.append(ctypes.cast(getattr(functions, _BUMP), ctypes.c_void_p))
        self._table = (ctypes.c_void_p * len(pointers))(*pointers)
        self.table = ctypes.addressof(self._table)
        self.place = (functions.aoti_torch_layout_strided(), functions.aoti_torch_device_type_cpu())
        self.types = {
            torch.float32: functions.aoti_torch_dtype_float32(),
            torch.float64: functions.aoti_torch_dtype_float64(),
        }
        self.offset = _offset()
        library = load(TEXT)
        self.gather, self.bump, self._absent = library.gather, library.bump, library.absent
        address, number = ctypes.c_void_p, ctypes.c_int64
        self.gather.argtypes = [address, number, address, address, address, number, address, number]
        self.gather.restype = number
        for function in (self.bump, self._absent):
            function.argtypes, function.restype = [address, number, address, number], ctypes.c_int32

    def absent(self, parameters: list[Tensor]) -> Callable[[], bool]:
        """Return a question: has none of these a gradient?"""
        objects = np.array([id(p) for p in parameters], dtype=np.uint64)
        return lambda: bool(self._absent(self.table, self.offset, objects.ctypes.data, len(objects)))


def _offset() -> int:
    """Return where a Python tensor keeps the pointer to its C++ one."""
    samples = [torch.zeros(3), torch.nn.Parameter(torch.zeros(2)), torch.zeros(1, dtype=torch.float64)]
    for offset in range(8, 65, 8):
        found = [ctypes.c_uint64.from_address(id(t) + offset).value for t in samples]
        if found == [t._cdata for t in samples]:  # noqa: SLF001 - that pointer, as torch itself shows it
            return offset
    raise CannotBuild("this torch keeps its tensors in another way")


@lru_cache(maxsize=1)
def native() -> _Native | None:
    """Return the native functions if they give the right answers here, else None."""
    try:
        found = _Native()
        return found if _is_right(found) else None
    except (CannotBuild, OSError, AttributeError):
        return None


def _is_right(native: _Native) -> bool:
    """Whether the native answers are those of Python, on tensors of every kind that matters."""
    x = torch.nn.Parameter(torch.zeros(3, 2))
    y = torch.nn.Parameter(torch.zeros(5))
    pointers = np.zeros((2, 3), dtype=np.uint64)
    ask, is_absent = Gatherer(native, [x, y], pointers), native.absent([x, y])
    if ask() or not is_absent():
        return False
    x.grad = torch.zeros(3, 2)
    if ask() or is_absent():
        return False
    y.grad = torch.zeros(5)
    if not ask() or pointers[:, :2].tolist() != [[t.data_ptr(), t.grad.data_ptr()] for t in (x, y)]:  # pyright: ignore[reportOptionalMemberAccess]
        return False
    before = [t._version for t in (x, y)]  # noqa: SLF001
    if not ask.bump() or [t._version for t in (x, y)] != [v + 1 for v in before]:  # noqa: SLF001
        return False
    x.grad = torch.zeros(2, 3).t()
    if ask():
        return False
    x.grad = torch.zeros(3, 2)
    y.data = torch.zeros(4)
    return not ask()

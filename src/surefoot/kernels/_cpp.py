"""A program as C++: one pass over memory for all tensors, one parallel region a step, scalars at run time."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.kernels._trace import Program

CHUNK = 1 << 16  # elements of one task: large enough to hide the scheduling, small enough to share evenly
ALONE = 32_768  # below this many elements in all, threads cost more than they save

_OPERATIONS = {
    "+": "{} + {}",
    "-": "{} - {}",
    "*": "{} * {}",
    "/": "{} / {}",
    "neg": "-{}",
    "sqrt": "root({})",
    "abs": "size({})",
    "sign": "sign({})",
    "maximum": "larger({}, {})",
    "minimum": "smaller({}, {})",
    "where": "({0} != 0 ? {1} : {2})",
    ">": "T({} > {})",
    "<": "T({} < {})",
}

_HEAD = """\
// Made by surefoot from a traced rule. One element at a time; the compiler makes vectors of it.
#include <cmath>
#include <cstdint>
using T = {type};
static inline T root(T x) {{ return std::sqrt(x); }}
static inline T size(T x) {{ return std::fabs(x); }}
static inline T sign(T x) {{ return x != x ? x : T((x > 0) - (x < 0)); }}
static inline T larger(T x, T y) {{ return (x != x || x > y) ? x : y; }}   // NaN stays NaN, as in torch
static inline T smaller(T x, T y) {{ return (x != x || x < y) ? x : y; }}
extern "C" void run(const double* scalars, T* const* arrays, const int64_t* tasks, int64_t count, int threads) {{
    // a task: tensor, start, length, offset of its scalars
    #pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t c = 0; c < count; ++c) {{
        const int64_t* task = tasks + 4 * c;
        T* const* at = arrays + task[0] * {width};
        const double* k = scalars + task[3];
        const int64_t start = task[1], length = task[2];
"""


def source(program: Program, type_name: str) -> str:
    """Return the C++ text of a program for "float" or "double"."""
    width = len(program.arrays)
    lines = [_HEAD.format(type=type_name, width=width)]
    lines += [
        f"        {'const ' if name == 'g' else ''}T* __restrict p_{name} = at[{i}] + start;"
        for i, name in enumerate(program.arrays)
    ]
    used = sorted(
        {o for _, _, operands in program.lines for o in operands if o[0] == "k" and o[1:].isdigit()},
        key=lambda k: int(k[1:]),
    )
    lines += [f"        const T {k} = T(k[{k[1:]}]);" for k in used]
    lines += ["        #pragma omp simd", "        for (int64_t i = 0; i < length; ++i) {"]
    lines += [f"            const T {name} = p_{name}[i];" for name in program.arrays]
    for name, operation, operands in program.lines:
        lines.append(f"            const T {name} = {_OPERATIONS[operation].format(*operands)};")
    lines += [f"            p_{name}[i] = {value};" for name, value in program.outputs if name != value]
    return "\n".join([*lines, "        }", "    }", "}", ""])


def tasks(sizes: Sequence[int], offsets: Sequence[int]) -> list[int]:
    """Return the flat list of tasks (tensor, start, length, offset of its scalars) for tensors of these sizes."""
    flat: list[int] = []
    for tensor, (size, offset) in enumerate(zip(sizes, offsets, strict=True)):
        for start in range(0, size, CHUNK):
            flat += (tensor, start, min(CHUNK, size - start), offset)
    return flat

"""A program as C++: each pass goes once over the memory of all tensors, in one parallel region, scalars at run time."""

from __future__ import annotations

from collections.abc import Sequence

from surefoot.kernels._trace import Pass, Program

CHUNK = 1 << 16  # elements of one task: large enough to hide the scheduling, small enough to share evenly
SHARE = 1 << 17  # elements that a thread must have: with fewer, waking it and waiting for it cost more than it saves

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
"""

# A task: tensor, start, length, row of scalars. `sums` has a row per task, `leaves` a row per tensor.
_LOOP = """\
extern "C" void pass{number}(const double* scalars, T* const* arrays, const int64_t* tasks, int64_t count, int threads,
                      double* sums, const double* leaves) {{
    #pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t c = 0; c < count; ++c) {{
        const int64_t* task = tasks + 4 * c;
        T* const* at = arrays + task[0] * {arrays};
        const double* k = scalars + task[3] * {width};
        const int64_t start = task[1], length = task[2];
"""


def source(program: Program, type_name: str) -> str:
    """Return the C++ text of a program for "float" or "double": one function a pass."""
    texts = [_pass(program, number, p) for number, p in enumerate(program.passes)]
    return "\n".join([_HEAD.format(type=type_name), *texts])


def _pass(program: Program, number: int, p: Pass) -> str:
    """Return the function of one pass; sums are gathered in double precision, task by task."""
    names = {name: f"{name}_" for name in program.arrays}  # no slot shall have the name of a variable of ours
    used = {o for _, _, operands in p.lines for o in operands} | {o for _, o in (*p.sums, *p.outputs)}
    written = {name for name, _ in p.outputs}
    lines = [_LOOP.format(number=number, arrays=len(program.arrays), width=p.width)]
    lines += [
        f"        {'' if name in written else 'const '}T* __restrict p_{name} = at[{i}] + start;"
        for i, name in enumerate(program.arrays)
        if name in used | written
    ]
    lines += [f"        const T _k{i} = T(k[{i}]);" for i in range(p.width)]
    lines += [
        f"        const T _l{i} = T(leaves[task[0] * {program.leaf_sums} + {i}]);"
        for i in range(program.leaf_sums)
        if f"_l{i}" in used
    ]
    lines += [f"        double _t{i} = 0;" for i in range(len(p.sums))]
    totals = ", ".join(f"_t{i}" for i in range(len(p.sums)))
    lines += [f"        #pragma omp simd{f' reduction(+:{totals})' if totals else ''}"]
    lines += ["        for (int64_t i = 0; i < length; ++i) {"]
    lines += [f"            const T {names[name]} = p_{name}[i];" for name in program.arrays if name in used]
    for name, operation, operands in p.lines:
        text = _OPERATIONS[operation].format(*(names.get(o, o) for o in operands))
        lines.append(f"            const T {name} = {text};")
    lines += [f"            _t{i} += double({names.get(o, o)});" for i, (_, o) in enumerate(p.sums)]
    lines += [f"            p_{name}[i] = {names.get(o, o)};" for name, o in p.outputs]
    lines += ["        }"]
    lines += [f"        sums[c * {len(p.sums)} + {i}] = _t{i};" for i in range(len(p.sums))]
    return "\n".join([*lines, "    }", "}", ""])


def tasks(sizes: Sequence[int], rows: Sequence[int]) -> list[int]:
    """Return the flat list of tasks (tensor, start, length, row of scalars) for tensors of these sizes."""
    flat: list[int] = []
    for tensor, (size, row) in enumerate(zip(sizes, rows, strict=True)):
        for start in range(0, size, CHUNK):
            flat += (tensor, start, min(CHUNK, size - start), row)
    return flat

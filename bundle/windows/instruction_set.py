"""Which instruction set a binary really uses, found by disassembling it, and the CPU level that makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pefile  # type: ignore[import-untyped]
from iced_x86 import CpuidFeature, Decoder, Mnemonic

from bundle.errors import UsageError
from oneclick.pc.levels import FEATURES, IN_AVX

_NAMES: dict[int, str] = {
    value: name.lower() for name, value in vars(CpuidFeature).items() if isinstance(value, int) and name[0].isalpha()
}
_X86_64 = {
    *("intel8086", "intel186", "intel286", "intel386", "intel486", "x64", "fpu", "fpu287", "fpu387", "cpuid", "cmov"),
    *("cx8", "cmpxchg16b", "fxsr", "mmx", "sse", "sse2", "syscall", "clfsh"),
}
_HARMLESS = {
    # Older CPUs take these for nothing (CET markers, prefetches, pause), or they ask the CPU or Windows what it has.
    *("cet_ibt", "cet_ss", "pause", "multibytenop", "prefetchw", "tsc", "rdtscp", "xsave"),
}
_LEAST_COUNT = 3
"""Tables between functions decode to a stray instruction now and then; real use comes in dozens."""
_EXECUTABLE = 0x20000000  # IMAGE_SCN_MEM_EXECUTE


def read_instruction_sets(binary: Path) -> tuple[str, ...]:
    """Instruction sets beyond plain x86-64 that ``binary`` uses, such as ``("avx", "avx2", "f16c", "fma")``.

    Code that runs only after asking the CPU counts too, so this is not for libraries with kernels for every CPU,
    like OpenBLAS.
    """
    used = {name for name, count in count_features(binary).items() if count >= _LEAST_COUNT} - _X86_64 - _HARMLESS
    if "avx" in used:
        used -= IN_AVX
    return tuple(sorted(used))


def count_features(binary: Path) -> Counter[str]:
    """How many instructions in the code of ``binary`` need each CPU feature (name -> count)."""
    instructions: Counter[int] = Counter()
    features: dict[int, list[int]] = {}
    for code in _code_sections(binary):
        for instruction in Decoder(64, code):
            kind = int(instruction.code)
            instructions[kind] += 1
            # tzcnt is `rep bsf` to CPUs without BMI1: compilers use it for plain x86-64 where both agree.
            if kind not in features:
                features[kind] = [] if instruction.mnemonic == Mnemonic.TZCNT else list(instruction.cpuid_features())
    counts: Counter[str] = Counter()
    for kind, count in instructions.items():
        for feature in features[kind]:
            counts[_NAMES[feature]] += count
    return counts


def _code_sections(binary: Path) -> list[bytes]:
    try:
        pe = pefile.PE(data=binary.read_bytes(), fast_load=True)
        return [section.get_data() for section in pe.sections if section.Characteristics & _EXECUTABLE]
    except pefile.PEFormatError as error:
        raise UsageError(
            f"{binary.name} is not a Windows binary",
            why=f"its header cannot be read: {error}",
            do="take the file it came in again",
        ) from error


def smallest_level(used: Iterable[str], what: str) -> str:
    """Return the name of the lowest level whose PCs run code that uses ``used``; UsageError when there is none."""
    needed = set(used) - IN_AVX
    for level, features in reversed(FEATURES.items()):
        if needed <= set(features):
            return level
    best, features = next(iter(FEATURES.items()))
    raise UsageError(
        f"{what} needs a newer CPU than any level here",
        why=f"it uses {', '.join(sorted(needed - set(features)))}, which {best} does not include",
        do="use another wheel, or compile the engine (--wheel compile)",
    )

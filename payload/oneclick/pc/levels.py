"""CPU levels: what a processor has from which engines are chosen, in the words of Intel's and AMD's manuals.

The one table of it: compiler flags, the audit of binaries, bundle.json and the check of a user's PC all read this.
"""

from __future__ import annotations

FEATURES = {
    # Haswell (2013), and every AMD since Excavator: what compilers call x86-64-v3.
    "avx2": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    # Sandy Bridge (2011): half of the vector width in integers, no fused multiply-add, no half-precision conversion.
    "avx": ("avx",),
}
"""Level -> what every processor of it has; the best level first."""
IN_AVX = frozenset(("sse3", "ssse3", "sse4_1", "sse4_2", "popcnt"))
"""Every processor with AVX has these."""

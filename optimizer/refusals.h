/*
 * Why a function, a table, a patch site or a module is left alone: one list.
 *
 * X(id, scope, sentence). docs/refusals.md has a section per id; a test compares the two.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_REFUSALS_H
#define RESPIN_OPTIMIZER_REFUSALS_H

// clang-format off
#define REFUSALS(X)                                                                                   \
    X(NO_FDE,          "no-fde",           FUNC,   "no unwind entry gives its extent")                \
    X(DECODE,          "decode",           FUNC,   "bytes that are no valid instruction")             \
    X(DISAGREE,        "decode-disagrees", FUNC,   "linear and recursive decoding disagree")          \
    X(OVERLAP,         "overlap",          FUNC,   "instructions overlap")                            \
    X(FLOW_COUNTS,     "flow-counts",      FUNC,   "counts do not add up along its edges")            \
    X(UNWIND,          "unwind",           FUNC,   "unwind information that cannot be carried over")  \
    X(LSDA_DYNRELOC,   "lsda-dynreloc",    FUNC,   "a type word of its LSDA has a dynamic relocation")\
    X(LSDA,            "lsda",             FUNC,   "language-specific data in an unknown form")       \
    X(NO_REL32,        "no-rel32",         FUNC,   "an instruction that has no 32-bit form")          \
    X(RANGE,           "range",            FUNC,   "a displacement out of range")                     \
    X(FORM,            "form",             FUNC,   "an instruction whose meaning depends on its address in an unknown way") \
    X(CALL_POP,        "call-pop",         FUNC,   "takes its own address by call and pop")           \
    X(NO_PATCH,        "no-patch",         FUNC,   "its entry cannot be patched")                     \
    X(TEXT_READ,       "text-read",        FUNC,   "its bytes are read as data")                      \
    X(RSEQ,            "rseq",             FUNC,   "holds a restartable sequence")                    \
    X(TOO_BIG,         "too-big",          FUNC,   "larger than the limit")                           \
    X(PLT,             "plt",              FUNC,   "the procedure linkage table")                     \
    X(NOT_EXECUTED,    "not-executed",     FUNC,   "not executed in the profile")                     \
    X(PROOF,           "proof",            FUNC,   "an emitted instruction did not re-decode to its original") \
    X(TABLE_BOUND,     "table-bound",      TABLE,  "no bound on the index is proven")                 \
    X(TABLE_ENTRY,     "table-entry",      TABLE,  "an entry leads outside the function")             \
    X(TABLE_ESCAPES,   "table-escapes",    TABLE,  "its address or a loaded label escapes")           \
    X(TABLE_REGS,      "table-registers",  TABLE,  "no dead register for a self-relative clone")      \
    X(SITE_SHORT,      "site-short",       SITE,   "fewer than five bytes before a possible target")  \
    X(SITE_DATA,       "site-data",        SITE,   "bytes read as data")                              \
    X(NO_HEADER_SLOT,  "no-header-slot",   MODULE, "no program header slot can be freed in place")    \
    X(NO_EH_FRAME,     "no-eh-frame",      MODULE, "no unwind table")                                 \
    X(GO,              "go",               MODULE, "Go looks return addresses up in .gopclntab")      \
    X(OCAML,           "ocaml",            MODULE, "OCaml looks return addresses up in frame tables") \
    X(GHC,             "ghc",              MODULE, "GHC keeps info tables before its code")           \
    X(TEXT_WRITABLE,   "text-writable",    MODULE, "a segment is writable and executable")            \
    X(TEXT_WRITTEN,    "text-written",     MODULE, "its text was written while it ran")               \
    X(ALREADY,         "already-optimized",MODULE, "an output of respin")                             \
    X(ADDRESS_SPACE,   "address-space",    MODULE, "no room for the overlay within 2 GiB")            \
    X(TRAILING_DATA,   "trailing-data",    MODULE, "bytes behind the end of the ELF file")            \
    X(NOT_IN_PROFILE,  "not-in-profile",   MODULE, "the profile does not know this build")
// clang-format on

typedef enum RefusalScope { REFUSE_FUNC, REFUSE_TABLE, REFUSE_SITE, REFUSE_MODULE } RefusalScope;

#define REFUSAL_ENUM(id, name, scope, sentence) REFUSED_##id,
typedef enum Refusal { REFUSED_NOT, REFUSALS(REFUSAL_ENUM) REFUSED_COUNT } Refusal;

typedef struct RefusalRow {
    const char *name;
    RefusalScope scope;
    const char *sentence;
} RefusalRow;

extern const RefusalRow refusal_rows[REFUSED_COUNT]; /* [0] is empty */

#endif

// Exceptions thrown through, caught in and rethrown from deep code: cleanups in order, catch by type,
// by base and of all, nested and replaced exceptions, specifications, termination that is caught.
// Prints one line for each event; a wrong table changes or ends the text.
// SPDX-License-Identifier: MIT
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#define HOT __attribute__((noinline))

static unsigned long digest = 1469598103934665603UL;

static void note(const char *what, long value)
{
    for (const char *c = what; *c; c++)
        digest = (digest ^ static_cast<unsigned char>(*c)) * 1099511628211UL;
    digest = (digest ^ static_cast<unsigned long>(value)) * 1099511628211UL;
}

static bool loud;
static void say(const char *what, long value)
{
    note(what, value);
    if (loud)
        std::printf("%s %ld\n", what, value);
}

struct Guard {
    long id;
    explicit Guard(long i) : id(i) { note("enter", i); }
    ~Guard() { say("leave", id); }
};

struct Base {
    virtual ~Base() {}
    virtual long value() const { return 1; }
};
struct Derived : Base {
    long v;
    explicit Derived(long x) : v(x) {}
    long value() const override { return v; }
};
struct Side {
    long s = 7;
};
struct Both : Side, Derived {
    explicit Both(long x) : Derived(x) {}
};

HOT static long leaf(long n)
{
    switch (n % 7) {
    case 0:
        throw n;
    case 1:
        throw Derived(n);
    case 2:
        throw std::runtime_error("leaf " + std::to_string(n));
    case 3:
        throw Both(n);
    case 4:
        throw std::string("text") + std::to_string(n);
    case 5:
        throw static_cast<const void *>(nullptr);
    default:
        return n * 3;
    }
}

HOT static long middle(long n, long depth)
{
    Guard guard(depth * 1000 + n);
    std::vector<long> keep(static_cast<size_t>(n % 5 + 1), n);
    if (depth > 0)
        return middle(n, depth - 1) + keep[0];
    return leaf(n) + keep[0];
}

// Several arguments on the stack, so the stack pointer moves round the call.
HOT static long wide(long a, long b, long c, long d, long e, long f, long g, long h, long n)
{
    Guard guard(g);
    long sum = middle(n, a + b) + c + d + e + f + g + h;
    return sum;
}

HOT static long rethrows(long n)
{
    try {
        return wide(1, n % 2, 3, 4, 5, 6, 7, 8, n);
    } catch (const Base &base) {
        say("rethrow base", base.value());
        throw;
    } catch (const std::exception &e) {
        say(e.what(), n);
        throw std::logic_error("replaced");
    }
}

HOT static long catches(long n)
{
    try {
        Guard guard(n);
        return rethrows(n);
    } catch (long value) {
        say("long", value);
        return value;
    } catch (const Derived &derived) {
        say("derived", derived.value());
        return derived.value();
    } catch (const std::logic_error &e) {
        say(e.what(), n);
        return -1;
    } catch (const std::string &text) {
        say(text.c_str(), static_cast<long>(text.size()));
        return -2;
    } catch (...) {
        say("anything", n);
        return -3;
    }
}

// A handler that throws while its own exception is live, and one that catches inside a cleanup.
struct Careful {
    long n;
    ~Careful()
    {
        try {
            leaf(n);
        } catch (...) {
            say("inside a cleanup", n);
        }
    }
};

HOT static long nested(long n)
{
    try {
        try {
            Careful careful{ n };
            middle(n, 2);
        } catch (...) {
            try {
                std::throw_with_nested(std::runtime_error("outer"));
            } catch (...) {
                say("second", n);
                throw;
            }
        }
    } catch (const std::nested_exception &e) {
        try {
            e.rethrow_nested();
        } catch (long value) {
            say("nested long", value);
        } catch (...) {
            say("nested other", n);
        }
    } catch (...) {
        say("not nested", n);
    }
    return n;
}

#if __cplusplus < 201703L
HOT static void only_long(long n) throw(long)
{
    if (n % 2 == 0)
        throw n;
    throw std::string("unexpected");
}

[[noreturn]] static void translate()
{
    throw 4242L;
}

HOT static long specified(long n)
{
    std::set_unexpected(translate);
    try {
        only_long(n);
    } catch (long value) {
        say("specified", value);
    }
    return 0;
}
#else
HOT static long specified(long n)
{
    say("no specifications", n);
    return 0;
}
#endif

// noexcept: no call site covers the call, so the run time must terminate, not go on.
static std::jmp_buf terminated;
[[noreturn]] static void on_terminate()
{
    std::longjmp(terminated, 1);
}

HOT static void promises(long n) noexcept
{
    if (middle(n, 1) == 0)
        note("zero", n);
}

HOT static long breaks_promise(long n)
{
    std::set_terminate(on_terminate);
    if (setjmp(terminated) == 0) {
        try {
            promises(n);
        } catch (...) {
            say("went through noexcept", n);
        }
    } else {
        say("terminated", n);
    }
    return n;
}

struct Half {
    Guard a{ 1 };
    Guard b{ 2 };
    explicit Half(long n) { leaf(n); }
};

HOT static long construct(long n)
{
    try {
        Half *half = new Half(n);
        long id = half->b.id;
        delete half;
        return id;
    } catch (...) {
        say("constructor", n);
        return 0;
    }
}

// A frame whose size is known only when it runs.
HOT static long dynamic_frame(long n)
{
    volatile char *room = static_cast<char *>(__builtin_alloca(static_cast<size_t>(n % 400 + 16)));
    room[0] = static_cast<char>(n);
    try {
        return middle(n, 1) + room[0];
    } catch (...) {
        say("alloca", room[0]);
        return room[0];
    }
}

// A frame aligned more than the ABI asks for.
HOT static long aligned_frame(long n)
{
    alignas(64) volatile long room[8];
    room[n & 7] = n;
    try {
        return wide(0, 0, room[n & 7], 4, 5, 6, 7, 8, n);
    } catch (...) {
        say("aligned", static_cast<long>(reinterpret_cast<unsigned long>(room) & 63));
        return room[n & 7];
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? std::atol(argv[1]) : 300;
    long sum = 0;
    for (long n = 0; n < rounds; n++) {
        loud = n < 20;
        sum += catches(n) + nested(n) + specified(n) + construct(n) + dynamic_frame(n);
        sum += aligned_frame(n) + breaks_promise(n);
    }
    std::printf("sum %ld digest %lx\n", sum, digest);
    try {
        catches(1);
        throw std::bad_alloc();
    } catch (const std::bad_alloc &) {
        std::printf("bad_alloc\n");
    }
    return 0;
}

<?php
// Work that PHP's JIT compiles: traces, side exits, exceptions through compiled code, generators.
// SPDX-License-Identifier: MIT

function fib(int $n): int { return $n < 2 ? $n : fib($n - 1) + fib($n - 2); }

function mandelbrot(int $size): int {
    $inside = 0;
    for ($y = 0; $y < $size; $y++)
        for ($x = 0; $x < $size; $x++) {
            $cr = 2.0 * $x / $size - 1.5;
            $ci = 2.0 * $y / $size - 1.0;
            $zr = $zi = 0.0;
            for ($i = 0; $i < 50 && $zr * $zr + $zi * $zi < 4.0; $i++) {
                $t = $zr * $zr - $zi * $zi + $cr;
                $zi = 2.0 * $zr * $zi + $ci;
                $zr = $t;
            }
            if ($i == 50) $inside++;
        }
    return $inside;
}

function sieve(int $limit): int {
    $composite = array_fill(0, $limit, false);
    $count = 0;
    for ($i = 2; $i < $limit; $i++) {
        if ($composite[$i]) continue;
        $count++;
        for ($j = $i * $i; $j < $limit; $j += $i) $composite[$j] = true;
    }
    return $count;
}

interface Shape { public function area(): float; }
class Square implements Shape { public function __construct(private float $s) {} public function area(): float { return $this->s ** 2; } }
class Disc implements Shape { public function __construct(private float $r) {} public function area(): float { return 3 * $this->r ** 2; } }

function shapes(int $n): float {
    $total = 0.0;
    for ($i = 0; $i < $n; $i++) {
        $shape = $i % 3 ? new Square($i % 7) : new Disc($i % 5);
        $total += $shape->area();
    }
    return $total;
}

function thrower(int $i): int {
    if ($i % 10 == 0) throw new RangeException("at $i");
    return $i;
}

function catches(int $n): string {
    $caught = $sum = 0;
    for ($i = 0; $i < $n; $i++) {
        try { $sum += thrower($i); }
        catch (RangeException $e) { $caught++; }
        finally { $sum++; }
    }
    return "$sum $caught";
}

function divides(int $n): int {
    $caught = 0;
    for ($i = 0; $i < $n; $i++) {
        try { $caught += intdiv(100, $i % 20) & 1; }
        catch (DivisionByZeroError $e) { $caught += 1000; }
    }
    return $caught;
}

/* Integers until they overflow into floats: a side exit of the compiled loop. */
function overflows(): float {
    $x = 1;
    for ($i = 0; $i < 200; $i++) $x = $x * 3 + $i;
    return $x;
}

function squares(int $n): Generator { for ($i = 0; $i < $n; $i++) yield $i => $i * $i; }

function words(int $n): string {
    $text = '';
    for ($i = 0; $i < $n; $i++) $text .= 'w' . ($i * 7919 % 101) . ' ';
    preg_match_all('/w(\d+)\b/', $text, $found);
    $counts = array_count_values($found[1]);
    uksort($counts, fn($a, $b) => $counts[$b] <=> $counts[$a] ?: $a <=> $b);
    return json_encode(array_slice($counts, 0, 3, true));
}

$status = opcache_get_status(false);
echo 'jit ', $status['jit']['on'] ? 'on' : 'off', "\n";
echo 'fib ', fib(24), "\n";
echo 'mandelbrot ', mandelbrot(100), "\n";
echo 'sieve ', sieve(300000), "\n";
echo 'shapes ', shapes(200000), "\n";
echo 'catches ', catches(20000), "\n";
echo 'divides ', divides(20000), "\n";
echo 'overflows ', overflows(), "\n";
$sum = 0;
foreach (squares(50000) as $k => $v) $sum += $v - $k;
echo "squares $sum\n";
echo 'words ', words(20000), "\n";
$list = array_map(fn($i) => $i * 7919 % 10007, range(1, 20000));
usort($list, fn($a, $b) => $a <=> $b);
echo 'hash ', hash('sha256', str_repeat('abc', 10000)), ' ', crc32(serialize($list)), "\n";
$fiber = new Fiber(function (int $x): int { while ($x < 1000) $x += Fiber::suspend($x); return $x; });
for ($got = $fiber->start(1); !$fiber->isTerminated(); $got = $fiber->resume(7) ?? $got);
echo 'fiber ', $fiber->getReturn(), "\n";
exit(7);

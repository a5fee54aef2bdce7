// Threads, exceptions made by faults (null, overflow of the stack, division), garbage collection,
// compiled code that is thrown away. Prints the same in every run.
// SPDX-License-Identifier: MIT
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.stream.*;

public class Threads {
    static class Node {
        int value;
        Node next;
        Node(int value, Node next) { this.value = value; this.next = next; }
    }

    interface Op { long of(long x); }

    // Hot enough to be compiled with an implicit null check, which faults now and then.
    static int valueOf(Node node) { return node.value; }

    static long nulls(int n) {
        Node[] nodes = new Node[1000];
        for (int i = 0; i < nodes.length; i++) nodes[i] = i % 97 == 0 ? null : new Node(i, null);
        long sum = 0, caught = 0;
        for (int i = 0; i < n; i++) {
            try {
                sum += valueOf(nodes[i % nodes.length]);
            } catch (NullPointerException e) {
                caught++;
            }
        }
        return sum * 1000 + caught;
    }

    static int deep(int k) { return deep(k + 1) + 1; }

    static int overflows(int n) {
        int caught = 0;
        for (int i = 0; i < n; i++) {
            try {
                deep(0);
            } catch (StackOverflowError e) {
                caught++;
            }
        }
        return caught;
    }

    static int divides(int n) {
        int caught = 0, sum = 0;
        for (int i = 0; i < n; i++) {
            try {
                sum += 1000 / (i % 50);
            } catch (ArithmeticException e) {
                caught++;
            }
            try {
                sum += new int[3][i % 5].length;
                sum += "abc".charAt(i % 4);
            } catch (StringIndexOutOfBoundsException e) {
                caught += 100;
            }
        }
        return sum + caught;
    }

    // One class of receiver, then three: calls that were inlined are undone.
    static long deoptimizes(int n) {
        Op[] ops = { x -> x + 1, x -> x * 3, x -> x ^ 5 };
        long x = 1;
        for (int phase = 1; phase <= 3; phase++)
            for (int i = 0; i < n; i++) x = ops[i % phase].of(x) & 0xffffff;
        return x;
    }

    static long garbage(int n) {
        long sum = 0;
        Node list = null;
        for (int i = 0; i < n; i++) {
            list = i % 1000 == 0 ? null : new Node(i, list);
            if (list != null) sum += list.value;
        }
        System.gc();
        return sum;
    }

    static String counts(int threads, int n) throws Exception {
        ConcurrentHashMap<Integer, AtomicLong> map = new ConcurrentHashMap<>();
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        List<Future<Long>> parts = new ArrayList<>();
        long[] guarded = new long[1];
        Object lock = new Object();
        for (int t = 0; t < threads; t++) {
            final int id = t;
            parts.add(pool.submit(() -> {
                for (int i = 0; i < n; i++) {
                    map.computeIfAbsent(i % 100, k -> new AtomicLong()).addAndGet(i);
                    synchronized (lock) { guarded[0]++; }
                }
                if (id == 1) throw new IllegalStateException("thrown in thread");
                return nulls(n);
            }));
        }
        long sum = 0;
        String thrown = "";
        for (Future<Long> part : parts) {
            try {
                sum += part.get();
            } catch (ExecutionException e) {
                thrown = e.getCause().getMessage();
            }
        }
        pool.shutdown();
        long total = map.values().stream().mapToLong(AtomicLong::get).sum();
        return guarded[0] + " " + sum + " " + total + " " + thrown;
    }

    static boolean interrupted() throws Exception {
        AtomicBoolean seen = new AtomicBoolean();
        Thread sleeper = new Thread(() -> {
            try {
                Thread.sleep(100000);
            } catch (InterruptedException e) {
                seen.set(true);
            }
        });
        sleeper.start();
        sleeper.interrupt();
        sleeper.join();
        return seen.get();
    }

    public static void main(String[] args) throws Exception {
        System.out.println("nulls " + nulls(200000));
        System.out.println("overflows " + overflows(20));
        System.out.println("divides " + divides(50000));
        System.out.println("deoptimizes " + deoptimizes(300000));
        System.out.println("garbage " + garbage(2000000));
        System.out.println("counts " + counts(4, 20000));
        System.out.println("interrupted " + interrupted());
        System.out.println("streams " + IntStream.range(0, 100000).parallel().filter(i -> i % 3 == 0)
            .mapToObj(Integer::toString).collect(Collectors.groupingBy(String::length, TreeMap::new, Collectors.counting())));
        Thread.setDefaultUncaughtExceptionHandler((thread, e) -> System.out.println("uncaught " + e));
        Thread dying = new Thread(() -> { Node none = null; System.out.println(none.value); });
        dying.start();
        dying.join();
        System.exit(valueOf(new Node(3, null)));
    }
}

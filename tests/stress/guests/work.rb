# Fibers, threads, exceptions, fork, signals, garbage collection, code made at run time.
# SPDX-License-Identifier: MIT
require 'set'
require 'json'
require 'digest'

def fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)

def deep(n) = deep(n + 1) + 1

def overflow
  deep(0)
rescue SystemStackError
  'stack level too deep'
end

def queens(n, row = 0, cols = 0, left = 0, right = 0)
  return 1 if row == n
  (0...n).sum do |c|
    bit = 1 << c
    l = 1 << (row + c)
    r = 1 << (row - c + n)
    (cols & bit | left & l | right & r).zero? ? queens(n, row + 1, cols | bit, left | l, right | r) : 0
  end
end

puts "fib #{fib(22)}"
puts "queens #{queens(6)}"
puts "overflow #{overflow}"
puts "caught #{(1..3000).count { |i| begin; Integer("x#{i}"); rescue ArgumentError; true; end }}"

numbers = Fiber.new { a, b = 0, 1; loop { Fiber.yield a; a, b = b, a + b } }
puts "fiber #{Array.new(60) { numbers.resume }.last}"
puts "enumerator #{(1..Float::INFINITY).lazy.map { |x| x * x }.select(&:even?).first(5)}"

queue = Queue.new
lock = Mutex.new
total = 0
workers = Array.new(4) { Thread.new { while (x = queue.pop) do lock.synchronize { total += x } end } }
3000.times { |i| queue << i }
4.times { queue << nil }
workers.each(&:join)
puts "threads #{total}"
puts "raised #{begin; Thread.new { Thread.current.report_on_exception = false; raise 'in a thread' }.value; rescue => e; e.message; end}"

got = 0
trap('USR1') { got += 1 }
10.times { |i| Process.kill('USR1', Process.pid); sleep 0.001 until got > i }
puts "signals #{got}"

read, write = IO.pipe
pid = fork { read.close; write << "child #{fib(10)}"; write.close; exit! 4 }
write.close
puts read.read
Process.wait(pid)
puts "status #{$?.exitstatus} #{`echo from a shell`.chomp}"

words = (1..20000).map { |i| "w#{i * 7919 % 101}" }.join(' ')
puts "words #{words.scan(/w\d+/).tally.sort_by { |w, c| [-c, w] }.first(3)}"
puts "json #{JSON.parse(JSON.generate(a: [1, 2.5, nil], b: 'x')).inspect}"
puts "digest #{Digest::SHA256.hexdigest('abc' * 1000)}"
puts "big #{(3**2000 % 10**20)}"
puts "made #{(1..200).sum { |i| eval("->(x) { x * #{i} }").call(i) }}"
kept = Set.new
100000.times { |i| kept << "s#{i}" if i % 1000 == 0; "garbage #{i}" }
GC.start
puts "kept #{kept.size}"
ractor = Ractor.new { Ractor.receive * 2 } if defined?(Ractor) && ENV['RACTOR']
puts "ractor #{ractor.send(21).take}" if ractor
exit 6

// Threads, panics that unwind, channels, a handler of its own for faults on an alternate stack.
// SPDX-License-Identifier: MIT
use std::collections::BTreeMap;
use std::panic;
use std::process::Command;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

fn sieve(limit: usize) -> usize {
    let mut composite = vec![false; limit];
    let mut count = 0;
    for i in 2..limit {
        if !composite[i] {
            count += 1;
            (i * i..limit).step_by(i).for_each(|j| composite[j] = true);
        }
    }
    count
}

fn panics(n: usize) -> usize {
    panic::set_hook(Box::new(|_| {}));
    let list = vec![1usize; 10];
    (0..n)
        .filter(|i| panic::catch_unwind(|| list[i % 13] + 1).is_err())
        .count()
}

fn counts(threads: usize, n: usize) -> usize {
    let map = Arc::new(Mutex::new(BTreeMap::new()));
    let all: Vec<_> = (0..threads)
        .map(|_| {
            let map = map.clone();
            thread::spawn(move || {
                for i in 0..n {
                    *map.lock().unwrap().entry(i % 17).or_insert(0usize) += i;
                }
            })
        })
        .collect();
    all.into_iter().for_each(|t| t.join().unwrap());
    let total = map.lock().unwrap().values().sum();
    total
}

fn channel(n: u64) -> u64 {
    let (send, receive) = mpsc::channel();
    let all: Vec<_> = (0..4)
        .map(|k| {
            let send = send.clone();
            thread::spawn(move || (0..n).for_each(|i| send.send(i * k).unwrap()))
        })
        .collect();
    drop(send);
    let sum = receive.iter().sum();
    all.into_iter().for_each(|t| t.join().unwrap());
    sum
}

fn main() {
    println!("sieve {}", sieve(200000));
    println!("panics {}", panics(1300));
    println!("counts {}", counts(4, 3000));
    println!("channel {}", channel(2000));
    let thread = thread::spawn(|| panic!("in a thread"));
    println!("joined {}", thread.join().is_err());
    let status = Command::new("/bin/sh").args(["-c", "exit 9"]).status();
    println!("child {:?}", status.unwrap().code());
    std::process::exit(11);
}

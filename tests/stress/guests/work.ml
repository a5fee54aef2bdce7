(* Exceptions, stack overflow found by a fault handler, collections, threads, signals, fork.
   SPDX-License-Identifier: MIT *)
let rec fib n = if n < 2 then n else fib (n - 1) + fib (n - 2)

let rec deep n = 1 + deep (n + 1)
let overflows () = try deep 0 with Stack_overflow -> -1

exception Found of int

let catches n =
  let sum = ref 0 in
  for i = 1 to n do
    try if i mod 3 = 0 then raise (Found i) else sum := !sum + 1
    with Found k -> sum := !sum + k
  done;
  !sum

let divides n =
  let caught = ref 0 in
  for i = 0 to n - 1 do
    try ignore (Sys.opaque_identity (1000 / (i mod 10))) with Division_by_zero -> incr caught
  done;
  !caught

let bounds n =
  let a = Array.make 10 1 and caught = ref 0 in
  for i = 0 to n - 1 do
    try caught := !caught + a.(i mod 13) with Invalid_argument _ -> caught := !caught + 100
  done;
  !caught

type tree = Leaf | Node of tree * int * tree

let rec insert x = function
  | Leaf -> Node (Leaf, x, Leaf)
  | Node (l, y, r) as t ->
      if x < y then Node (insert x l, y, r) else if x > y then Node (l, y, insert x r) else t

let rec size = function Leaf -> 0 | Node (l, _, r) -> size l + 1 + size r

let trees n =
  let t = ref Leaf in
  for i = 1 to n do t := insert (i * 7919 mod 100003) !t done;
  Gc.compact ();
  size !t

let words n =
  let counts = Hashtbl.create 16 in
  for i = 1 to n do
    let w = Printf.sprintf "w%d" (i * 7919 mod 101) in
    Hashtbl.replace counts w (1 + try Hashtbl.find counts w with Not_found -> 0)
  done;
  let all = Hashtbl.fold (fun w c l -> (-c, w) :: l) counts [] in
  match List.sort compare all with (c, w) :: _ -> Printf.sprintf "%s %d" w (-c) | [] -> "none"

let threads n =
  let lock = Mutex.create () and total = ref 0 in
  let work () =
    for i = 1 to n do
      Mutex.lock lock;
      total := !total + i;
      Mutex.unlock lock;
      if i mod 100 = 0 then Thread.yield ()
    done in
  let all = List.init 4 (fun _ -> Thread.create work ()) in
  List.iter Thread.join all;
  !total

let signals n =
  let got = ref 0 in
  Sys.set_signal Sys.sigusr1 (Sys.Signal_handle (fun _ -> incr got));
  for i = 1 to n do
    Unix.kill (Unix.getpid ()) Sys.sigusr1;
    while !got < i do ignore (Sys.opaque_identity (ref i)) done
  done;
  !got

exception Timeout

let timer () =
  Sys.set_signal Sys.sigalrm (Sys.Signal_handle (fun _ -> raise Timeout));
  ignore (Unix.setitimer Unix.ITIMER_REAL { Unix.it_interval = 0.; it_value = 0.02 });
  try
    while true do ignore (Sys.opaque_identity (ref 1)) done;
    "never"
  with Timeout -> "timed out"

let child () =
  match Unix.fork () with
  | 0 -> exit (fib 10)
  | pid -> ( match Unix.waitpid [] pid with _, Unix.WEXITED s -> s | _ -> -1)

let () =
  Printf.printf "fib %d\n" (fib 25);
  Printf.printf "overflows %d %d\n" (overflows ()) (overflows ());
  Printf.printf "catches %d\n" (catches 100000);
  Printf.printf "divides %d\n" (divides 100000);
  Printf.printf "bounds %d\n" (bounds 100000);
  Printf.printf "trees %d\n" (trees 20000);
  Printf.printf "words %s\n" (words 20000);
  Printf.printf "threads %d\n" (threads 1000);
  Printf.printf "signals %d\n" (signals 50);
  Printf.printf "timer %s\n%!" (timer ());
  Printf.printf "child %d\n%!" (child ());
  exit 9

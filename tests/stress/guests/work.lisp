;;; Conditions made by faults, exhausted stacks, threads, collections that move objects under write
;;; barriers, code compiled at run time.
;;; SPDX-License-Identifier: MIT
(declaim (optimize (speed 1) (safety 3)))

(defun fib (n) (declare (fixnum n)) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))

(defun deep (n) (+ 1 (deep (+ n 1))))

(defun exhausts ()
  (handler-case (deep 0)
    (storage-condition () "control stack exhausted")))

(defun divides (n)
  (loop for i below n
        sum (handler-case (floor 1000 (mod i 10))
              (division-by-zero () -1))))

(defun float-traps (zero)
  (declare (double-float zero))
  (handler-case (/ 1.0d0 zero)
    (division-by-zero () "division by zero")
    (floating-point-inexact () "inexact")))

(defun type-errors (n)
  (loop for i below n count (handler-case (progn (car (aref #(symbol ()) (mod i 2))) nil)
                              (type-error () t))))

(defun garbage (n)
  (let ((kept (make-array 100 :initial-element nil)))
    (dotimes (i n)
      (push (cons i (make-string 10)) (aref kept (mod i 100)))
      (when (zerop (mod i 1000)) (fill kept nil)))
    (gc :full t)
    (reduce #'+ (map 'list #'length kept))))

(defun compiled (n)
  (loop for i below n sum (funcall (compile nil `(lambda (x) (* x ,i))) i)))

(defun words (n)
  (let ((counts (make-hash-table :test #'equal)))
    (dotimes (i n) (incf (gethash (format nil "w~a" (mod (* i 7919) 101)) counts 0)))
    (subseq (sort (loop for k being the hash-keys of counts using (hash-value v) collect (cons k v))
                  (lambda (a b) (or (> (cdr a) (cdr b)) (and (= (cdr a) (cdr b)) (string< (car a) (car b))))))
            0 3)))

(defun threads (n)
  (let* ((lock (sb-thread:make-mutex)) (total 0)
         (all (loop repeat 4 collect
                (sb-thread:make-thread
                 (lambda ()
                   (dotimes (i n) (sb-thread:with-mutex (lock) (incf total i)))
                   (garbage 20000))))))
    (list (mapcar #'sb-thread:join-thread all) total)))

(defun timed-out ()
  (handler-case (sb-ext:with-timeout 0.05 (loop))
    (sb-ext:timeout () "timed out")))

(defun interrupted ()
  (let* ((started (sb-thread:make-semaphore))
         (thread (sb-thread:make-thread
                  (lambda () (catch 'out (sb-thread:signal-semaphore started) (loop))))))
    (sb-thread:wait-on-semaphore started)
    (sb-thread:interrupt-thread thread (lambda () (throw 'out "interrupted")))
    (sb-thread:join-thread thread)))

(format t "fib ~a~%" (fib 24))
(format t "exhausts ~a ~a~%" (exhausts) (exhausts))
(format t "divides ~a~%" (divides 2000))
(format t "float ~a~%" (float-traps (float (random 1) 1d0)))
(format t "type errors ~a~%" (type-errors 2000))
(format t "garbage ~a~%" (garbage 200000))
(format t "compiled ~a~%" (compiled 20))
(format t "words ~a~%" (words 5000))
(format t "big ~a~%" (mod (expt 3 3000) (expt 10 20)))
(format t "threads ~a~%" (threads 500))
(format t "timeout ~a~%" (timed-out))
(format t "interrupt ~a~%" (interrupted))
(format t "shell ~a~%" (sb-ext:process-exit-code (sb-ext:run-program "/bin/sh" '("-c" "exit 9"))))
(sb-ext:exit :code 8)

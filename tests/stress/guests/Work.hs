-- Lightweight threads, transactions, asynchronous exceptions, big integers, collections.
-- SPDX-License-Identifier: MIT
module Main (main) where

import Control.Concurrent
import Control.Exception
import Control.Monad
import qualified Data.Map.Strict as Map
import GHC.Conc
import System.Exit
import System.IO
import System.Mem
import System.Timeout

fib :: Int -> Integer
fib n = if n < 2 then toInteger n else fib (n - 1) + fib (n - 2)

sieve :: Int -> Int
sieve n = go [2 .. n] 0
  where
    go [] k = k
    go (p : xs) k
      | p * p > n = k + 1 + length xs
      | otherwise = go [x | x <- xs, x `mod` p /= 0] (k + 1)

counted :: Int -> [(String, Int)]
counted n = take 3 (Map.toList (Map.fromListWith (+) [('w' : show (i * 7919 `mod` 101), 1) | i <- [1 .. n]]))

divides :: Int -> IO Int
divides n = sum <$> forM [0 .. n - 1] one
  where
    one i = handle caught (evaluate (1000 `div` (i `mod` 10)))
    caught DivideByZero = return (-1)
    caught e = throwIO e

change :: TVar Int -> Int -> STM ()
change var by = readTVar var >>= \x -> writeTVar var $! x + by

transfers :: Int -> IO Int
transfers n = do
    from <- newTVarIO (4 * n)
    to <- newTVarIO 0
    done <- newEmptyMVar
    replicateM_ 4 (forkIO (replicateM_ n (atomically (change from (-1) >> change to 1)) >> putMVar done ()))
    replicateM_ 4 (takeMVar done)
    readTVarIO to

killed :: IO String
killed = do
    said <- newEmptyMVar
    started <- newEmptyMVar
    thread <- forkIO ((putMVar started () >> forever (threadDelay 100)) `catch` \e -> putMVar said (show (e :: AsyncException)))
    takeMVar started
    killThread thread
    takeMVar said

ring :: Int -> Int -> IO Int
ring width n = do
    boxes <- replicateM width newEmptyMVar
    let pass (a, b) = forkIO (forever (takeMVar a >>= putMVar b . (+ 1)))
    threads <- mapM pass (zip boxes (tail boxes))
    forM_ [1 .. n] (\i -> when (i == 1) (putMVar (head boxes) 0))
    got <- takeMVar (last boxes)
    mapM_ killThread threads
    return got

main :: IO ()
main = do
    hSetBuffering stdout LineBuffering
    putStrLn ("fib " ++ show (fib 20))
    putStrLn ("sieve " ++ show (sieve 5000))
    putStrLn ("counted " ++ show (counted 20000))
    putStrLn ("big " ++ show ((3 :: Integer) ^ (3000 :: Int) `mod` 10 ^ (20 :: Int)))
    divides 5000 >>= \k -> putStrLn ("divides " ++ show k)
    transfers 1000 >>= \k -> putStrLn ("transfers " ++ show k)
    killed >>= \text -> putStrLn ("killed " ++ text)
    ring 200 1 >>= \k -> putStrLn ("ring " ++ show k)
    performGC
    late <- timeout 20000 (forever (threadDelay 1000))
    putStrLn ("timeout " ++ maybe "happened" (const "missed") (late :: Maybe ()))
    bad <- try (evaluate (head ([] :: [Int])))
    putStrLn ("head " ++ either (\e -> const "threw" (e :: ErrorCall)) show bad)
    exitWith (ExitFailure 10)

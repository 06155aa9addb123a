/* A ring is replaced by another: the producer sends the new ring's descriptor on the control socket, then
   commits a SWAP record as the last one of the old ring, then writes to the new one. The consumer drains the old
   ring to that record and finds the descriptor waiting. Slots, commit words, the two positions and the sleep are
   modelled; a blocked producer waits on head (space.pml shows how).

   - Positions run on over all rings; slot = (position - base) mod capacity, base = the position at which the ring
     began. The producer counts what is taken from max(head, base) on: an old head never makes room in a new ring.
   - Sleep words, wake words and head stay in the first segment: a consumer may sleep on the old ring while the
     producer commits to the new one.
   - A socket that refuses the descriptor (full) means: no swap now.
   - A ring may be used again once head has reached the base of the ring after it; its first commit word is zeroed
     before the SWAP record. Within a ring the next commit word is zeroed before a record is committed.

   Mutants: FD_AFTER=1 (descriptor sent after the record), REFUSED_ANYWAY=1 (swaps though the socket was full),
   SWITCH_ON_FD=1 (consumer goes over when the descriptor comes), HEAD_RESETS=1 (positions begin again at 0),
   TAKEN_FROM_BASE=1 (a base that head has passed is still counted from: no room is ever given back), WORDS_MOVE=1 (wake word
   in the new segment), REUSED_EARLY=1 (old ring taken again before the consumer left it), ZERO_NEXT=0, ZERO_FIRST=0,
   FENCE_WAKER=0. */
#ifndef FD_AFTER
#define FD_AFTER 0
#endif
#ifndef REFUSED_ANYWAY
#define REFUSED_ANYWAY 0
#endif
#ifndef SWITCH_ON_FD
#define SWITCH_ON_FD 0
#endif
#ifndef HEAD_RESETS
#define HEAD_RESETS 0
#endif
#ifndef TAKEN_FROM_BASE
#define TAKEN_FROM_BASE 0
#endif
#ifndef WORDS_MOVE
#define WORDS_MOVE 0
#endif
#ifndef REUSED_EARLY
#define REUSED_EARLY 0
#endif
#ifndef ZERO_NEXT
#define ZERO_NEXT 1
#endif
#ifndef ZERO_FIRST
#define ZERO_FIRST 1
#endif
#ifndef FENCE_WAKER
#define FENCE_WAKER 1
#endif
#define RECORDS 5
#define SWAPS 2
#define SOCKET 1

#define THREADS 2
#define WORDS 7
#define DEPTH 4
#define PRODUCER 0
#define CONSUMER 1
#define CAP(r) ((r) == 0 -> 2 : 3)
#define SLOT(r, n) ((r) * 2 + (n)) /* words 0-1: ring 0; words 2-4: ring 1 */
#define HEAD 5
#define SLP 6
#define SWAP_TO(r) (100 + (r))
#include "tso.pml"

byte wseq[2]; /* one per segment; only the first is used, unless WORDS_MOVE */
bit queued;
byte queued_on;
chan control = [SOCKET] of { byte };
#define OTHER 9 /* something else on the control socket: a doorbell byte, a tagged descriptor */

#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define TAKEN_FROM (TAKEN_FROM_BASE -> base : MAX(mem[HEAD], base))

/* value at the tail; a record needs room for itself and for the zeroed word behind it. */
inline commit(value) {
  if
  :: ZERO_NEXT && value < SWAP_TO(0) -> STORE(PRODUCER, SLOT(ring, (tail + 1 - base) % CAP(ring)), 0)
  :: else -> skip
  fi;
  STORE(PRODUCER, SLOT(ring, (tail - base) % CAP(ring)), value);
  tail++
}

inline wake() {
  FENCE(PRODUCER, FENCE_WAKER);
  if
  :: mem[SLP] ->
     atomic {
       DRAINED(PRODUCER);
       wseq[ring * WORDS_MOVE]++;
       if
       :: queued && queued_on == ring * WORDS_MOVE -> queued = 0
       :: else -> skip
       fi
     }
  :: else -> skip
  fi
}

active proctype Others() {
  control!OTHER
}

active proctype ControlReader() {
end:
  do
  :: control?OTHER
  od
}

active proctype Producer() {
  byte tail, base, ring, i, swaps;
  bit refused;
  do
  :: i < RECORDS && tail + 2 <= CAP(ring) + TAKEN_FROM -> atomic { i++; commit(i) }; wake()
  :: i < RECORDS && swaps < SWAPS && tail + 1 <= CAP(ring) + TAKEN_FROM &&
     (REUSED_EARLY || mem[HEAD] >= base) ->
     atomic {
       swaps++;
       if
       :: ZERO_FIRST -> STORE(PRODUCER, SLOT(1 - ring, 0), 0)
       :: else -> skip
       fi
     };
     if
     :: FD_AFTER -> commit(SWAP_TO(1 - ring)); DRAINED(PRODUCER); control!(1 - ring)
     :: else ->
        atomic {
          DRAINED(PRODUCER);
          if
          :: nfull(control) -> control!(1 - ring)
          :: full(control) -> refused = 1
          fi
        };
        if
        :: !refused || REFUSED_ANYWAY -> commit(SWAP_TO(1 - ring))
        :: else -> skip
        fi
     fi;
     if
     :: !refused || REFUSED_ANYWAY ->
        ring = 1 - ring;
        if
        :: HEAD_RESETS -> tail = 0
        :: else -> skip
        fi;
        base = tail;
        wake()
     :: else -> skip
     fi;
     refused = 0
  :: i == RECORDS -> break
  od
}

active proctype Consumer() {
  byte head, base, ring, got, value, next, seen;
  do
  :: got < RECORDS ->
     if
     :: SWITCH_ON_FD && control?[0] -> control?ring; base = head
     :: SWITCH_ON_FD && control?[1] -> control?ring; base = head
     :: !SWITCH_ON_FD || !(control?[0] || control?[1]) -> skip
     fi;
     value = mem[SLOT(ring, (head - base) % CAP(ring))];
     if
     :: value >= SWAP_TO(0) ->
        do /* recv(MSG_DONTWAIT) until it is there */
        :: control?[OTHER] -> control?OTHER
        :: else -> break
        od;
        assert(nempty(control));
        control?next;
        assert(next == value - SWAP_TO(0));
        ring = next;
        if
        :: HEAD_RESETS -> head = 0
        :: else -> head++
        fi;
        base = head;
        STORE(CONSUMER, HEAD, head)
     :: value > 0 && value < SWAP_TO(0) ->
        got++;
        assert(value == got);
        head++;
        STORE(CONSUMER, HEAD, head)
     :: else ->
        seen = wseq[ring * WORDS_MOVE];
        STORE(CONSUMER, SLP, 1);
        DRAINED(CONSUMER);
        if
        :: mem[SLOT(ring, (head - base) % CAP(ring))] != 0 -> skip
        :: else ->
           atomic {
             if
             :: wseq[ring * WORDS_MOVE] == seen -> queued_on = ring * WORDS_MOVE; queued = 1
             :: else -> skip
             fi
           };
           !queued
        fi;
        STORE(CONSUMER, SLP, 0)
     fi;
     value = 0; next = 0; seen = 0
  :: else -> break
  od
}

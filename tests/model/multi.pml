/* Leader and followers on one channel: CALLERS threads of a process, each waiting for its own reply. One
   holds the receive role, drains the ring for all and wakes whose reply it finds; the others sleep on
   private tokens. (How the leader sleeps on the ring is the subject of wake_epoch.pml; here it waits on the ring.)

   The rule that keeps a reply from being left in the ring: whoever stops waiting, for whatever reason and
   whether it held the role or not, passes on: if nobody holds the role and somebody waits, it wakes one of
   those. It isn't enough that a leader hands over: the thread it wakes may leave at that very moment because
   its deadline is over, and the hand-over is lost with it. Thread 0 has a deadline that may pass at any
   time.

   Announcing oneself (`waiting`) and looking whether the role is free, and freeing the role and looking who waits,
   are a store and then a load on each side: sequentially consistent operations, as here.

   Mutants: PASS_ON=LEADER (only a leader hands over, on leaving), PASS_ON=NOBODY, RECHECK=0 (no second look at the role after announcing). */
#define EVERYBODY 2
#define LEADER 1
#define NOBODY 0
#ifndef PASS_ON
#define PASS_ON EVERYBODY
#endif
#ifndef RECHECK
#define RECHECK 1
#endif
#define CALLERS 3

bit role;             /* held by somebody */
bit done[CALLERS];    /* reply delivered */
bit waiting[CALLERS]; /* announced itself as a follower */
bit token[CALLERS];   /* private futex word */
bit expired;          /* thread 0's deadline */
chan ring = [CALLERS] of { byte };

/* Answers in any order. */
active proctype Server() {
  byte i, first;
  if
  :: first = 0
  :: first = 1
  :: first = 2
  fi;
  do
  :: i < CALLERS -> ring!((first + i) % CALLERS); i++
  :: else -> break
  od
}

active proctype Clock() {
  expired = 1;
  token[0] = 1
}

#define LEAVES(t) (done[t] || (t == 0 && expired))

inline pass_on(me) {
  if
  :: role == 0 ->
     other = 0;
     do
     :: other < CALLERS && (other == me || !waiting[other] || done[other]) -> other++
     :: other < CALLERS && other != me && waiting[other] && !done[other] -> token[other] = 1; break
     :: other >= CALLERS -> break
     od
  :: else -> skip
  fi;
  other = 0
}

inline lead(me) {
  do
  :: LEAVES(me) -> break
  :: !LEAVES(me) && nempty(ring) ->
     ring?other;
     done[other] = 1;
     if
     :: other != me -> token[other] = 1
     :: else -> skip
     fi
  od;
  other = 0;
  role = 0;
  if
  :: PASS_ON == LEADER -> pass_on(me)
  :: else -> skip
  fi
}

inline follow(me) {
  waiting[me] = 1;
  if
  :: RECHECK && (role == 0 || LEAVES(me)) -> skip
  :: else -> token[me] == 1; token[me] = 0
  fi;
  waiting[me] = 0
}

proctype Caller(byte me) {
  byte other;
  do
  :: LEAVES(me) -> break
  :: else ->
     if
     :: d_step { role == 0 -> role = 1 } -> lead(me)
     :: else -> follow(me)
     fi
  od;
  if
  :: PASS_ON == EVERYBODY -> pass_on(me)
  :: else -> skip
  fi
}

init {
  atomic { run Caller(0); run Caller(1); run Caller(2) }
}

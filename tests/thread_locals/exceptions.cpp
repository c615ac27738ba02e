// What `libraries.rs` loads: C++ keeps by thread which exceptions are caught, and how many are on their way.
#include <atomic>
#include <exception>

static std::atomic<int> destroyed;

struct Counts {
  int number = 0;
  ~Counts() { destroyed++; }
};

static thread_local Counts of_this_thread;

struct Waits {
  void (*yield)();
  bool &right;
  ~Waits() {
    right &= std::uncaught_exceptions() == 1;
    yield();
    right &= std::uncaught_exceptions() == 1;
  }
};

// Throws `number`, waits in a destructor on the way and in both handlers; is everything found as it was left?
extern "C" bool throws_and_catches(int number, void (*yield)()) {
  bool right = std::uncaught_exceptions() == 0;
  of_this_thread.number = number;
  try {
    try {
      Waits waits{yield, right};
      throw number;
    } catch (int caught) {
      yield();
      right &= caught == number && std::uncaught_exceptions() == 0;
      throw;
    }
  } catch (int caught) {
    yield();
    right &= caught == number;
    try {
      std::rethrow_exception(std::current_exception());
    } catch (int again) {
      yield();
      right &= again == number;
    }
  }
  return right && of_this_thread.number == number && std::current_exception() == nullptr;
}

extern "C" int how_many_destroyed() { return destroyed; }

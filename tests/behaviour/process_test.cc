#include "tests/behaviour/fixture.h"

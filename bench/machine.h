// The machine: what it is, which processors there are for a measurement, and how busy others keep them.
#pragma once

#include <string>
#include <vector>

namespace ipcrpc::bench {

// One line: processor, count, kernel, virtualisation.
std::string DescribeMachine();

// The processors that this program may run on.
std::vector<int> AllowedCpus();

// Processor time that everybody has used so far, all processors, time stolen by the host included.
double BusySeconds();

}  // namespace ipcrpc::bench

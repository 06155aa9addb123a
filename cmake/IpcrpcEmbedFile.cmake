# cmake -DINPUT=file -DOUTPUT=file.cc -DVARIABLE=name -P IpcrpcEmbedFile.cmake: the file's bytes as a C++ constant.
file(READ "${INPUT}" bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${bytes}")
string(REGEX REPLACE "([^\n]+)" "    \"\\1\"" bytes "${bytes}")
file(SIZE "${INPUT}" size)
file(WRITE "${OUTPUT}" "// Generated from ${INPUT}. Do not edit.
#include <string_view>

namespace ipcrpc::embedded {

extern const std::string_view ${VARIABLE};
constinit const std::string_view ${VARIABLE}(
${bytes},
    ${size});

}  // namespace ipcrpc::embedded
")

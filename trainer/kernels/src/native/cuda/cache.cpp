#include "cache.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <future>
#include <vector>

namespace nocturne::cuda {
namespace {

constexpr const char* HEADER = "nocturne kernels 1\n";
// No image of ours comes near.
constexpr off_t LARGEST = off_t{64} << 20;

// FNV-1a, to tell one text from another and a damaged file from a whole one. Nobody who could forge a file may write to the folder.
std::string fingerprint(const std::string& text) {
  std::uint64_t low = 0xcbf29ce484222325u, high = 0x84222325cbf29ce4u;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    low = (low ^ byte) * 0x100000001b3u;
    high = (high ^ (byte + 0x9eu)) * 0x100000001b3u;
  }
  char hex[33];
  std::snprintf(hex, sizeof(hex), "%016llx%016llx", static_cast<unsigned long long>(low), static_cast<unsigned long long>(high));
  return hex;
}

std::string reason() { return std::strerror(errno); }

// A descriptor that is closed.
struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

std::string content_of(const ImageKey& key, const std::string& image) {
  return HEADER + key.line + "\n" + std::to_string(image.size()) + " " + fingerprint(image) + "\n" + image;
}

}  // namespace

ImageKey::ImageKey(const Part& part, const std::string& target, const std::string& compiler_version) : part(part.name), target(target) {
  line.append(part.name).append(" ").append(target).append(" nvrtc-").append(compiler_version);
  for (const std::string& option : Compiler::options()) line.append(" ").append(option);
  line.append(" ").append(fingerprint(part.text));
}

std::string ImageKey::file_name() const { return part + "-" + target + "-" + fingerprint(line) + ".bin"; }

std::optional<std::string> read_image(const std::string& folder, const ImageKey& key, std::string& why) {
  const std::string path = folder + "/" + key.file_name();
  const auto unusable = [&](const std::string& reason) {
    why = path + ": " + reason + "; the kernels are compiled instead";
    return std::nullopt;
  };
  // No link is followed: it could lead to what others may write.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  if (file.number < 0) return unusable(reason());
  struct stat facts = {};
  if (fstat(file.number, &facts) != 0) return unusable(reason());
  if (!S_ISREG(facts.st_mode)) return unusable("not a regular file");
  if (facts.st_size > LARGEST) return unusable("too large");
  std::string content(static_cast<size_t>(facts.st_size), '\0');
  for (size_t at = 0; at < content.size();) {
    const ssize_t got = ::read(file.number, content.data() + at, content.size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unusable(reason());
    if (got == 0) return unusable("cut short");
    at += static_cast<size_t>(got);
  }
  const std::string beginning = HEADER + key.line + "\n";
  const size_t end = content.starts_with(beginning) ? content.find('\n', beginning.size()) : std::string::npos;
  if (end == std::string::npos) return unusable("not an image of these kernels");
  std::string image = content.substr(end + 1);
  // Written again and compared: every byte has one meaning.
  if (content != content_of(key, image)) return unusable("damaged");
  return image;
}

void write_image(const std::string& folder, const ImageKey& key, const std::string& image) {
  const std::string path = folder + "/" + key.file_name(), partial = path + "." + std::to_string(getpid()) + ".partial";
  const auto fail = [&](const char* call, const std::string& why) {
    unlink(partial.c_str());
    TORCH_CHECK(false, "cannot keep compiled kernels: ", call, " ", partial, ": ", why,
                ". See that the folder exists, can be written to and has room");
  };
  const std::string content = content_of(key, image);
  unlink(partial.c_str());  // of a process of the same number that was ended
  {
    const Descriptor file{open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
    if (file.number < 0) fail("open", reason());
    for (size_t at = 0; at < content.size();) {
      const ssize_t put = ::write(file.number, content.data() + at, content.size() - at);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail("write", reason());
      at += static_cast<size_t>(put);
    }
    if (fsync(file.number) != 0) fail("fsync", reason());
  }
  if (rename(partial.c_str(), path.c_str()) != 0) fail("rename", reason());
}

void fill_cache(const std::string& folder, int major, int minor) {
  const Compiler& compiler = Compiler::get();
  const std::string target = compiler.target(major, minor);
  std::vector<std::future<std::string>> images;
  for (const Part& part : parts()) {
    images.push_back(std::async(std::launch::async, [&compiler, &part, &target] { return compiler.compile(part, target).image; }));
  }
  size_t next = 0;
  for (const Part& part : parts()) write_image(folder, ImageKey(part, target, compiler.version()), images[next++].get());
}

}  // namespace nocturne::cuda

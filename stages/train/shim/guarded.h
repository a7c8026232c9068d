// How an exception of libtorch crosses to Rust: as a text.
#pragma once

#include <string.h>

#include <exception>

#include <c10/util/Exception.h>

// Runs `body`; an exception becomes its text.
template <class Body> char *guarded(Body body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error &error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception of unknown type");
  }
}

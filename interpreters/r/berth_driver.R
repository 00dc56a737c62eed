# R for one session: expressions are evaluated one by one in the global environment, as at R's own prompt.
#
# Output goes straight to the descriptors 1 and 2. A plot is a result: it is drawn on a device that only remembers it,
# and sent as PNG when the next one begins or the run ends, so that `lines()` may still add to it, also in a later run.
#
#   guest -> driver   {"run": {"id": 1, "code": "1 + 1"}}, {"shown": 1}
#   driver -> guest   {"ready": {"version": "4.5.0"}} once, {"result": {...}}, {"end": {...}}

local({
  # Longest text of one value or error, in characters.
  text_chars_max <- 4194304L
  error_chars_max <- 65536L

  open_pipe <- function(variable, mode) {
    name <- paste0("/proc/self/fd/", Sys.getenv(variable))
    Sys.unsetenv(variable)
    file(name, mode, raw = TRUE)
  }
  requests <- open_pipe("BERTH_REQUESTS", "rb")
  replies <- open_pipe("BERTH_REPLIES", "wb")
  # Needed to find R's own libraries; programs that user code starts are better off without.
  Sys.unsetenv(c("LD_LIBRARY_PATH", "R_ENABLE_JIT"))

  send <- function(message) {
    body <- charToRaw(enc2utf8(as.character(jsonlite::toJSON(message, auto_unbox = TRUE, null = "null", digits = NA))))
    writeBin(c(writeBin(length(body), raw(), size = 4L, endian = "little"), body), replies)
    flush(replies)
  }

  receive <- function() {
    head <- readBin(requests, "integer", 1L, size = 4L, endian = "little")
    if (length(head) == 0L) quit("no", 0L, FALSE)
    body <- raw(0L)
    while (length(body) < head) {
      part <- readBin(requests, "raw", head - length(body))
      if (length(part) == 0L) quit("no", 0L, FALSE)
      body <- c(body, part)
    }
    text <- rawToChar(body)
    Encoding(text) <- "UTF-8"
    jsonlite::fromJSON(text, simplifyVector = FALSE)
  }

  state <- new.env()
  state$run <- NULL
  state$number <- 0L
  state$count <- 0L
  state$sent_plot <- NULL

  cut_text <- function(text, max) {
    length <- nchar(text, "chars", allowNA = TRUE)
    if (is.na(length) || length <= max) text else paste0(substr(text, 1L, max), "\n[cut]")
  }

  emit <- function(bundle, main) {
    if (is.null(state$run)) return(invisible())
    state$number <- state$number + 1L
    # An interrupt that arrives in here waits: a frame that is half sent cannot be taken back.
    suspendInterrupts({
      send(list(result = list(id = state$run, number = state$number, main = main, mime = bundle)))
      repeat if (identical(as.integer(receive()$shown), state$number)) break
    })
    invisible()
  }

  # R compiles what runs more than once, and loads its compiler for that: a tenth of a second that only code with loops
  # and functions of its own should pay for.
  state$jit <- 3L
  compiled <- function(expression) {
    .Internal(enableJIT(state$jit))
    on.exit(state$jit <- .Internal(enableJIT(0L)))
    withVisible(eval(expression, globalenv()))
  }

  # Plots ----------------------------------------------------------------------------------------------------------

  open_device <- function(...) {
    grDevices::pdf(NULL, width = 7, height = 5)
    grDevices::dev.control(displaylist = "enable")
    state$device <- grDevices::dev.cur()
  }
  options(device = open_device)

  # Sends the plot on our device unless it was sent as it is now.
  flush_plot <- function() {
    if (is.null(state$device) || !(state$device %in% grDevices::dev.list())) return(invisible())
    current <- grDevices::dev.cur()
    if (current != state$device) grDevices::dev.set(state$device)
    plot <- grDevices::recordPlot()
    if (length(plot[[1L]]) == 0L || identical(plot[[1L]], state$sent_plot)) {
      grDevices::dev.set(current)
      return(invisible())
    }
    state$sent_plot <- plot[[1L]]
    name <- tempfile(fileext = ".png")
    on.exit(unlink(name), add = TRUE)
    grDevices::png(name, width = 7, height = 5, units = "in", res = 120, type = "cairo")
    drawn <- tryCatch({ grDevices::replayPlot(plot); TRUE }, error = function(e) FALSE)
    grDevices::dev.off()
    grDevices::dev.set(current)
    if (drawn && file.exists(name)) {
      bytes <- readBin(name, "raw", file.size(name))
      emit(list(`text/plain` = "<plot>", `image/png` = gsub("\n", "", jsonlite::base64_enc(bytes), fixed = TRUE)), FALSE)
    }
    invisible()
  }
  new_page <- function(...) flush_plot()
  setHook("before.plot.new", new_page)
  setHook("before.grid.newpage", new_page)

  # Runs -----------------------------------------------------------------------------------------------------------

  # As at the prompt: what is not the last goes to standard output.
  show_last <- function(value) {
    text <- paste(utils::capture.output(print_value(value)), collapse = "\n")
    flush_plot()
    if (nzchar(text)) emit(list(`text/plain` = cut_text(text, text_chars_max)), TRUE)
  }
  print_value <- function(value) {
    if (isS4(value)) methods::show(value) else print(value)
  }

  name_of <- function(call) if (is.call(call) && is.name(call[[1L]])) as.character(call[[1L]]) else ""
  is_ours <- function(call) name_of(call) %in% c("eval", "compiled", "tryCatch", "doTryCatch", "withCallingHandlers")

  # What the code itself called: everything below the step that runs it.
  own_calls <- function(calls) {
    step <- which(vapply(calls, name_of, "") == "compiled")
    if (!length(step)) return(list())
    calls <- calls[-seq_len(max(step) + 3L)]
    Filter(Negate(is_ours), calls)
  }

  one_line <- function(call) deparse(call, nlines = 1L)[1L]

  describe <- function(error, calls) {
    value <- cut_text(conditionMessage(error), error_chars_max)
    call <- conditionCall(error)
    name <- setdiff(class(error), c("simpleError", "error", "condition"))[1L]
    if (is.na(name)) name <- "Error"
    where <- if (is.null(call) || is_ours(call)) "" else paste0(" in ", one_line(call))
    frames <- vapply(utils::tail(own_calls(calls), 20L), one_line, "")
    trace <- if (length(frames) > 1L) paste0("\nCalls: ", paste(frames, collapse = " -> ")) else ""
    traceback <- cut_text(paste0(name, where, ": ", value, trace), error_chars_max)
    cat(traceback, "\n", sep = "", file = stderr())
    list(name = name, value = value, traceback = traceback)
  }

  # R itself would name the driver's call as the place of a warning in the cell.
  warn <- function(warning) {
    if (identical(getOption("warn"), 1L) && is_ours(conditionCall(warning))) {
      cat("Warning: ", conditionMessage(warning), "\n", sep = "", file = stderr())
      invokeRestart("muffleWarning")
    }
  }

  evaluate <- function(code) {
    expressions <- tryCatch(parse(text = code, keep.source = TRUE), error = function(error) {
      # The message begins with the name of a file that is none.
      message <- sub("^<text>:", "line ", conditionMessage(error))
      stop(structure(class = c("SyntaxError", "error", "condition"), list(message = message, call = NULL)))
    })
    for (index in seq_along(expressions)) {
      result <- compiled(expressions[index])
      if (result$visible) {
        if (index == length(expressions)) show_last(result$value) else print_value(result$value)
      }
    }
    flush_plot()
    NULL
  }

  run_code <- function(code) {
    # One that came too late for the run before is not meant for this one.
    tryCatch(allowInterrupts(NULL), interrupt = function(interrupt) NULL)
    calls <- list()
    tryCatch(
      allowInterrupts(withCallingHandlers(
        evaluate(code),
        error = function(error) calls <<- utils::head(sys.calls(), -2L),
        warning = warn
      )),
      error = function(error) describe(error, calls),
      interrupt = function(interrupt) list(name = "KeyboardInterrupt", value = "interrupted", traceback = ""),
      berth_quit = function(condition) {
        if (condition$status == 0) NULL
        else list(name = "Exit", value = paste("exit code", condition$status), traceback = "")
      }
    )
  }

  # `quit()` ends the cell, not the interpreter.
  leave <- function(save = "default", status = 0, runLast = TRUE) {
    stop(structure(class = c("berth_quit", "condition"), list(message = "quit", call = NULL, status = status)))
  }
  # Warnings are told when they happen, not at the next prompt, which there is none of.
  options(warn = 1L, width = 120L, browser = "false", menu.graphics = FALSE, bitmapType = "cairo",
          error = NULL, keep.source = TRUE)
  overrides <- new.env()
  overrides$quit <- overrides$q <- leave
  overrides$readline <- function(prompt = "") stop("readline() has nobody to ask; put the value into the code")
  attach(overrides, name = "berth", warn.conflicts = FALSE)

  suspendInterrupts({
    send(list(ready = list(version = paste(R.version$major, R.version$minor, sep = "."))))
    repeat {
      run <- receive()$run
      if (is.null(run)) next
      began <- proc.time()[["elapsed"]]
      state$run <- run$id
      state$count <- state$count + 1L
      error <- run_code(run$code)
      if (!is.null(error)) tryCatch(flush_plot(), error = function(e) NULL)
      state$run <- NULL
      while (sink.number() > 0L) sink()
      seconds <- proc.time()[["elapsed"]] - began
      send(list(end = list(id = run$id, execution_count = state$count, seconds = seconds, error = error)))
    }
  })
})

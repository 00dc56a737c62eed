package berth;

import java.io.ByteArrayInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jdk.jshell.Diag;
import jdk.jshell.EvalException;
import jdk.jshell.JShell;
import jdk.jshell.Snippet;
import jdk.jshell.SnippetEvent;
import jdk.jshell.SourceCodeAnalysis;
import jdk.jshell.SourceCodeAnalysis.Completeness;
import jdk.jshell.SourceCodeAnalysis.CompletionInfo;
import jdk.jshell.TypeDeclSnippet;
import jdk.jshell.UnresolvedReferenceException;
import jdk.jshell.execution.LocalExecutionControlProvider;
import sun.misc.Signal;

/**
 * Java for one session: JShell without its prompt, in this process.
 *
 * <pre>
 *   guest -> driver   {"run": {"id": 1, "code": "1 + 1"}}, {"shown": 1}
 *   driver -> guest   {"ready": {"version": "21.0.8"}} once, {"result": {...}}, {"end": {...}}
 * </pre>
 */
public final class Driver {
    /** Longest text of one value or error, in characters. */
    private static final int TEXT_CHARS_MAX = 4 << 20;

    private static final Pattern NAME = Pattern.compile("\\b[A-Z]\\w*");

    private static final Pattern PACKAGE = Pattern.compile("\\A(\\s|//[^\\n]*\\n|/\\*(?s:.*?)\\*/)*package\\s+[\\w.]+\\s*;");

    private static final Pattern MAIN = Pattern.compile("\\bstatic\\s+(final\\s+)?void\\s+main\\s*\\(\\s*(final\\s+)?String\\b");

    private final JShell shell;
    private final SourceCodeAnalysis analysis;
    private final Imports imports = new Imports();
    private volatile boolean running;
    private volatile boolean interrupted;

    private Driver() {
        shell = JShell.builder()
                .in(new ByteArrayInputStream(new byte[0]))
                .out(System.out)
                .err(System.err)
                .executionEngine(new LocalExecutionControlProvider(), Map.of())
                .build();
        analysis = shell.sourceCodeAnalysis();
    }

    /** Serves the guest; with an argument, runs once what a session will need, for the archive of loaded classes. */
    public static void main(String[] arguments) throws IOException {
        // A line is one write, at once.
        System.setOut(stream(FileDescriptor.out));
        System.setErr(stream(FileDescriptor.err));
        System.setIn(new ByteArrayInputStream(new byte[0]));
        Driver driver = new Driver();
        if (arguments.length > 0) {
            driver.train();
        } else {
            driver.serve(new Wire());
        }
        System.exit(0);
    }

    private static PrintStream stream(FileDescriptor descriptor) {
        return new PrintStream(new FileOutputStream(descriptor), true, StandardCharsets.UTF_8);
    }

    private void train() {
        for (String code : List.of(
                "1 + 1", "int x = 40; String s = \"a\" + x; s", "List.of(1, 2).stream().map(i -> i + 1).toList()",
                "int twice(int n) { return 2 * n; }\ntwice(x)", "for (int i = 0; i < 2; i++) System.out.print(\"\");",
                "record Point(int x, int y) {}\nnew Point(1, 2)", "nowhere", "1 / 0", "class Main { public static void main(String[] a) {} }")) {
            try {
                evaluate(code);
            } catch (Failure expected) {
                // Errors are part of the training.
            }
        }
    }

    private void serve(Wire wire) throws IOException {
        Signal.handle(new Signal("INT"), signal -> {
            if (running) {
                interrupted = true;
                shell.stop();
            }
        });
        wire.send(Map.of("ready", Map.of("version", System.getProperty("java.version"))));
        long count = 0;
        long shown = 0;
        for (Map<String, Object> frame = wire.receive(); frame != null; frame = wire.receive()) {
            if (!(frame.get("run") instanceof Map<?, ?> run)) {
                continue;
            }
            long began = System.nanoTime();
            Failure failure = null;
            interrupted = false;
            running = true;
            try {
                String value = evaluate((String) run.get("code"));
                if (value != null) {
                    wire.send(Map.of("result", members(
                            "id", run.get("id"), "number", ++shown, "main", true,
                            "mime", Map.of("text/plain", cut(value)))));
                }
            } catch (Failure caught) {
                failure = interrupted ? new Failure("KeyboardInterrupt", "interrupted", "") : caught;
                System.err.println(failure.trace.isEmpty() ? failure.summary() : failure.trace);
            } finally {
                running = false;
            }
            System.out.flush();
            wire.send(Map.of("end", members(
                    "id", run.get("id"), "execution_count", ++count, "seconds", (System.nanoTime() - began) / 1e9,
                    "error", failure == null ? null : failure.members())));
        }
    }

    /** Runs code snippet by snippet and returns the text of the last one's value, if it is an expression. */
    private String evaluate(String code) throws Failure {
        Matcher named = PACKAGE.matcher(code);
        // A shell has no packages; the lines stay where they are.
        String rest = named.find() ? " ".repeat(named.end()) + code.substring(named.end()) : code;
        int length = rest.length();
        // Each costs as much as a small run, so only what the code mentions is imported.
        NAME.matcher(code).results().map(MatchResult::group).flatMap(name -> imports.takePackagesWith(name).stream())
                .forEach(name -> shell.eval("import " + name + ".*;"));
        String value = null;
        String programme = null;
        boolean onlyDeclarations = true;
        while (!rest.isBlank()) {
            CompletionInfo info = analysis.analyzeCompletion(rest);
            if (info.completeness() == Completeness.EMPTY) {
                break;
            }
            boolean whole = info.source() == null || info.completeness() == Completeness.DEFINITELY_INCOMPLETE;
            String source = whole ? rest : info.source();
            int line = 1 + (int) code.substring(0, length - rest.length()).chars().filter(unit -> unit == '\n').count();
            rest = whole ? "" : info.remaining();
            value = null;
            for (SnippetEvent event : shell.eval(source)) {
                if (interrupted) {
                    throw new Failure("KeyboardInterrupt", "interrupted", "");
                }
                if (event.causeSnippet() != null) {
                    continue;
                }
                check(event, source, line);
                Snippet snippet = event.snippet();
                if (snippet instanceof TypeDeclSnippet type && MAIN.matcher(source).find()) {
                    programme = type.name();
                }
                switch (snippet.subKind()) {
                    // An assignment is an expression to Java, but nobody asks for its value.
                    case TEMP_VAR_EXPRESSION_SUBKIND, VAR_VALUE_SUBKIND, OTHER_EXPRESSION_SUBKIND -> {
                        value = event.value();
                        onlyDeclarations = false;
                    }
                    case CLASS_SUBKIND, INTERFACE_SUBKIND, ENUM_SUBKIND, RECORD_SUBKIND, ANNOTATION_TYPE_SUBKIND,
                            METHOD_SUBKIND, SINGLE_TYPE_IMPORT_SUBKIND, TYPE_IMPORT_ON_DEMAND_SUBKIND,
                            SINGLE_STATIC_IMPORT_SUBKIND, STATIC_IMPORT_ON_DEMAND_SUBKIND -> { }
                    default -> onlyDeclarations = false;
                }
            }
        }
        if (programme != null && onlyDeclarations) {
            String call = programme + ".main(new String[0]);";
            for (SnippetEvent event : shell.eval(call)) {
                check(event, call, 1);
            }
        }
        return value == null || value.isEmpty() ? null : value;
    }

    private void check(SnippetEvent event, String source, int line) throws Failure {
        if (event.exception() instanceof EvalException thrown) {
            throw thrown(thrown);
        }
        if (event.exception() instanceof UnresolvedReferenceException unresolved) {
            String missing = String.join(", ", shell.unresolvedDependencies(unresolved.getSnippet()).toList());
            throw new Failure("UnresolvedReference", "not defined yet: " + missing, "");
        }
        if (event.status() == Snippet.Status.REJECTED) {
            Diag first = shell.diagnostics(event.snippet()).filter(Diag::isError).findFirst().orElse(null);
            if (first == null) {
                throw new Failure("CompilationError", "the code was rejected", "");
            }
            int position = (int) Math.clamp(first.getPosition(), 0, source.length());
            int at = line + (int) source.substring(0, position).chars().filter(unit -> unit == '\n').count();
            String message = first.getMessage(Locale.ROOT).strip();
            String shown = source.lines().skip(at - line).findFirst().orElse("").strip();
            throw new Failure("CompilationError", message + " (line " + at + ")",
                    "CompilationError: line " + at + ": " + message + "\n    " + shown);
        }
    }

    private static Failure thrown(EvalException thrown) {
        String name = thrown.getExceptionClassName();
        String message = thrown.getMessage() == null ? "" : thrown.getMessage();
        StringBuilder trace = new StringBuilder("Exception in code: ").append(name);
        if (!message.isEmpty()) {
            trace.append(": ").append(message);
        }
        int left = 50;
        for (StackTraceElement frame : thrown.getStackTrace()) {
            // Names of classes that the shell made for itself say nothing.
            if (frame.getClassName().startsWith("jdk.jshell.") || left-- == 0) {
                break;
            }
            // What belongs to no class of the code's own is told by its method; the cell itself has no name at all.
            String place = frame.getClassName() + "." + frame.getMethodName();
            String where = place.equals(".") ? "the cell" : place.startsWith(".") ? place.substring(1) : place;
            trace.append("\n    at ").append(where).append(" (line ").append(frame.getLineNumber()).append(')');
        }
        if (thrown.getCause() instanceof EvalException cause) {
            trace.append("\nCaused by: ").append(cause.getExceptionClassName()).append(": ").append(cause.getMessage());
        }
        return new Failure(name, message, trace.toString());
    }

    private static String cut(String text) {
        return text.length() <= TEXT_CHARS_MAX ? text : text.substring(0, TEXT_CHARS_MAX) + "\n[cut]";
    }

    /** Pairs of names and values, which may be null. */
    private static Map<String, Object> members(Object... pairs) {
        Map<String, Object> members = new LinkedHashMap<>();
        for (int index = 0; index < pairs.length; index += 2) {
            members.put((String) pairs[index], pairs[index + 1]);
        }
        return members;
    }

    /** Why a run did not succeed. */
    private static final class Failure extends Exception {
        private final String name;
        private final String trace;

        Failure(String name, String value, String trace) {
            super(value, null, false, false);
            this.name = name;
            this.trace = trace;
        }

        private String summary() {
            return getMessage().isEmpty() ? name : name + ": " + getMessage();
        }

        private Map<String, Object> members() {
            return Driver.members("name", name, "value", cut(getMessage()), "traceback", cut(trace));
        }
    }
}

package berth;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The packages whose classes code may name without importing them: those of the JDK's own shell. */
final class Imports {
    private static final List<String> PACKAGES = List.of(
            "java.base/java.io", "java.base/java.math", "java.base/java.net", "java.base/java.nio.file", "java.base/java.util",
            "java.base/java.util.concurrent", "java.base/java.util.function", "java.prefs/java.util.prefs",
            "java.base/java.util.regex", "java.base/java.util.stream");

    /** Names of classes by package; a package leaves when it is taken. */
    private final Map<String, Set<String>> left = new HashMap<>();

    Imports() {
        for (String place : PACKAGES) {
            String name = place.substring(place.indexOf('/') + 1);
            try (Stream<Path> files = Files.list(Path.of(URI.create("jrt:/" + place.replace('.', '/').replaceFirst("java/", "java."))))) {
                left.put(name, files.map(file -> file.getFileName().toString())
                        .filter(file -> file.endsWith(".class") && file.indexOf('$') < 0)
                        .map(file -> file.substring(0, file.length() - ".class".length()))
                        .collect(Collectors.toCollection(HashSet::new)));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    /** The packages that hold a class {@code name} and were not asked for before. */
    List<String> takePackagesWith(String name) {
        List<String> found = new ArrayList<>();
        for (Map.Entry<String, Set<String>> entry : left.entrySet()) {
            if (entry.getValue().contains(name)) {
                found.add(entry.getKey());
            }
        }
        left.keySet().removeAll(found);
        return found;
    }
}

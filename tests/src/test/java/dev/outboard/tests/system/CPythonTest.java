// SPDX-License-Identifier: MIT
package dev.outboard.tests.system;

import static org.assertj.core.api.Assertions.assertThat;

import dev.outboard.tests.support.Mode;
import dev.outboard.tests.support.Programs;
import dev.outboard.tests.support.Scenario;
import dev.outboard.tests.support.Trial;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Tag;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/**
 * CPython's own tests (Debian's libpython3.11-testsuite): each has the same result as natively, but
 * for those listed with a cause in {@code src/test/programs/cpython-differences}.
 */
class CPythonTest {
  private static final Map<String, Map<String, String>> NATIVELY = new ConcurrentHashMap<>();

  @Scenario(trace = false)
  void someModules(Trial trial) throws Exception {
    // Those of epoll allow 10 ms for a call, and others use this machine, too: a judge has them.
    sameResults(trial, Duration.ofMinutes(3), "test_select", "test_httpservers");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void socket(Trial trial) throws Exception {
    sameResults(trial, Duration.ofMinutes(10), "test_socket");
  }

  /**
   * The machine's kernel may lack them: these are judged on the library kernel, by their result.
   */
  @Scenario(modes = Mode.LIBRARY, trace = false)
  void sctpAndCiphers(Trial trial) throws Exception {
    trial
        .program(words("-m", "*SCTP*", "-m", "*CryptoAPI*", "test_socket").toArray(String[]::new))
        .run(Duration.ofMinutes(2))
        .expectSuccess();
    Map<String, String> results = results(trial.directory().resolve("results.xml"));
    assertThat(results.values()).filteredOn("passed"::equals).hasSizeGreaterThan(40);
    // Random bytes are not among what AF_ALG has.
    assertThat(results.entrySet())
        .filteredOn(e -> !e.getValue().equals("passed"))
        .allSatisfy(e -> assertThat(e.getKey()).contains("test_drbg_pr_sha256"));
  }

  @Tag("judges")
  @Scenario(trace = false)
  void pollers(Trial trial) throws Exception {
    sameResults(
        trial,
        Duration.ofMinutes(10),
        "test_selectors",
        "test_epoll",
        "test_poll",
        "test_select",
        "test_asyncore");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void protocols(Trial trial) throws Exception {
    sameResults(
        trial,
        Duration.ofMinutes(10),
        "test_httplib",
        "test_httpservers",
        "test_ftplib",
        "test_smtplib",
        "test_urllib2_localnet",
        "test_xmlrpc");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void asyncio(Trial trial) throws Exception {
    sameResults(trial, Duration.ofMinutes(20), "test_asyncio");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void tls(Trial trial) throws Exception {
    sameResults(trial, Duration.ofMinutes(10), "test_ssl");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void serversAndLogs(Trial trial) throws Exception {
    // The resource "network" is what test_socketserver asks for before it opens any socket.
    sameResults(
        trial, Duration.ofMinutes(10), "-u", "network", "test_socketserver", "test_logging");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void processesAndThreads(Trial trial) throws Exception {
    sameResults(trial, Duration.ofMinutes(15), "test_signal", "test_subprocess", "test_threading");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void multiprocessing(Trial trial) throws Exception {
    sameResults(
        trial, Duration.ofMinutes(20), "test_multiprocessing_fork", "test_multiprocessing_spawn");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void files(Trial trial) throws Exception {
    sameResults(trial, Duration.ofMinutes(10), "test_os", "test_posix", "test_fcntl");
  }

  @Tag("judges")
  @Scenario(trace = false)
  void aTerminal(Trial trial) throws Exception {
    // Without a controlling terminal all of it is skipped.
    String line = String.join(" ", words("test_ioctl")).replace("*", "'*'");
    sameResults(
        trial, Duration.ofMinutes(2), "test_ioctl", List.of("script", "-qec", line, "/dev/null"));
  }

  private static void sameResults(Trial trial, Duration limit, String... modules) throws Exception {
    sameResults(trial, limit, String.join(" ", modules), words(modules));
  }

  private static List<String> words(String... modules) {
    List<String> words =
        new ArrayList<>(
            List.of(Programs.PYTHON, "-m", "test", "-i", "*VSOCK*", "--junit-xml", "results.xml"));
    words.addAll(List.of(modules));
    return words;
  }

  private static void sameResults(Trial trial, Duration limit, String key, List<String> words)
      throws Exception {
    int status = trial.program(words.toArray(String[]::new)).run(limit).status();
    Map<String, String> results = results(trial.directory().resolve("results.xml"));
    if (trial.mode() == Mode.NATIVE) {
      assertThat(status).isZero();
      NATIVELY.put(key, results);
      return;
    }
    Map<String, String> natively = NATIVELY.get(key);
    Map<String, String> reasons = reasons(trial.directory().resolve("results.xml"));
    if (natively == null) {
      throw new AssertionError("the native run of the same modules has no results");
    }
    Set<String> names = new TreeSet<>(natively.keySet());
    names.addAll(results.keySet());
    names.removeAll(listedDifferences());
    Map<String, String> differences = new TreeMap<>();
    for (String name : names) {
      String expected = natively.getOrDefault(name, "absent");
      String actual = results.getOrDefault(name, "absent");
      // What is skipped natively for want of a feature of the machine's kernel may pass.
      boolean lacking = expected.equals("skipped") && actual.equals("passed");
      if (!expected.equals(actual) && !lacking) {
        String reason = reasons.getOrDefault(name, "");
        differences.put(name, expected + " natively, now " + actual + " " + reason);
      }
    }
    assertThat(differences).isEmpty();
  }

  /** The tests named in the list, without their causes. */
  private static Set<String> listedDifferences() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of(Programs.data("cpython-differences")))) {
      return lines
          .filter(line -> !line.isBlank() && !line.startsWith("#"))
          .map(line -> line.split(":", 2)[0].strip())
          .collect(Collectors.toSet());
    }
  }

  private static Map<String, String> results(Path xml) throws Exception {
    Map<String, String> results = new TreeMap<>();
    for (Element test : cases(xml)) {
      String result = "passed";
      for (String bad : List.of("failure", "error", "skipped")) {
        if (test.getElementsByTagName(bad).getLength() > 0) {
          result = bad;
        }
      }
      if (test.getAttribute("result").equals("skipped")) {
        result = "skipped";
      }
      results.put(test.getAttribute("name"), result);
    }
    assertThat(results).as("results in %s", xml).isNotEmpty();
    return results;
  }

  /** What the tests say that did not pass. */
  private static Map<String, String> reasons(Path xml) throws Exception {
    Map<String, String> reasons = new TreeMap<>();
    for (Element test : cases(xml)) {
      for (String bad : List.of("failure", "error")) {
        if (test.getElementsByTagName(bad).item(0) instanceof Element why) {
          reasons.put(test.getAttribute("name"), why.getTextContent());
        }
      }
    }
    return reasons;
  }

  private static List<Element> cases(Path xml) throws Exception {
    NodeList cases =
        DocumentBuilderFactory.newInstance()
            .newDocumentBuilder()
            .parse(xml.toFile())
            .getElementsByTagName("testcase");
    return IntStream.range(0, cases.getLength()).mapToObj(i -> (Element) cases.item(i)).toList();
  }
}

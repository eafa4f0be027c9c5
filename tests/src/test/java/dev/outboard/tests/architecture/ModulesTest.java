// SPDX-License-Identifier: MIT
package dev.outboard.tests.architecture;

import static com.tngtech.archunit.core.domain.JavaCall.Predicates.target;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.assignableTo;
import static com.tngtech.archunit.core.domain.properties.HasName.Predicates.name;
import static com.tngtech.archunit.core.domain.properties.HasOwner.Predicates.With.owner;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.lang.foreign.Linker;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Dependencies go down only, and native calls are made where they are meant to be. */
class ModulesTest {
  private static final String ROOT = "dev.outboard.";

  /** Each module and the modules it may use; the same as in the modules' POMs. */
  private static final Map<String, Set<String>> USES = new LinkedHashMap<>();

  static {
    USES.put("abi", Set.of());
    USES.put("posix", Set.of("abi"));
    USES.put("syscalls", Set.of("abi"));
    USES.put("channel", Set.of("abi", "posix", "syscalls"));
    USES.put("relay", Set.of("abi", "posix", "syscalls", "channel"));
    USES.put("hook", Set.of("abi", "posix", "syscalls", "channel"));
    USES.put("kernel", Set.of("abi", "posix"));
    USES.put("virtio", Set.of("abi", "posix"));
    USES.put("device", Set.of("abi", "posix", "syscalls", "channel", "relay", "kernel", "virtio"));
    USES.put("service", Set.of("abi", "posix", "syscalls", "channel"));
    USES.put("metrics", Set.of("abi", "posix", "syscalls", "channel"));
    USES.put("bench", Set.of());
    USES.put(
        "cli",
        Set.of(
            "abi",
            "posix",
            "syscalls",
            "channel",
            "relay",
            "hook",
            "kernel",
            "virtio",
            "device",
            "service",
            "metrics",
            "bench"));
  }

  private static final JavaClasses PRODUCT =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .withImportOption(location -> !location.contains("/dev/outboard/tests/"))
          .importPackages("dev.outboard");

  private static final DescribedPredicate<JavaClass> USE_NATIVE_CALLS =
      DescribedPredicate.describe(
          "use native calls",
          c ->
              c.getDirectDependenciesFromSelf().stream()
                  .map(d -> d.getTargetClass().getPackageName())
                  .anyMatch(p -> p.equals(ROOT + "posix") || p.equals(ROOT + "kernel")));

  @Test
  void everyModuleIsLookedAt() {
    for (String module : USES.keySet()) {
      assertThat(PRODUCT.stream().map(c -> c.getPackageName() + "."))
          .as("packages that were found")
          .anyMatch(p -> p.startsWith(ROOT + module + "."));
    }
  }

  @Test
  void dependenciesGoDownOnly() {
    USES.forEach((module, uses) -> {
      List<String> others = new ArrayList<>();
      for (String other : USES.keySet()) {
        if (!other.equals(module) && !uses.contains(other)) {
          others.add(ROOT + other + "..");
        }
      }
      if (!others.isEmpty()) {
        noClasses()
            .that()
            .resideInAPackage(ROOT + module + "..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(others.toArray(String[]::new))
            .check(PRODUCT);
      }
    });
  }

  @Test
  void theHookAndTheDeviceNeverSeeEachOther() {
    noClasses()
        .that()
        .resideInAPackage(ROOT + "hook..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(ROOT + "device..", ROOT + "kernel..", ROOT + "virtio..")
        .check(PRODUCT);
    noClasses()
        .that()
        .resideInAnyPackage(ROOT + "device..", ROOT + "kernel..", ROOT + "virtio..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage(ROOT + "hook..")
        .check(PRODUCT);
  }

  @Test
  void nobodyMakesAnUpcallStub() {
    noClasses()
        .should()
        .callMethodWhere(target(name("upcallStub")).and(target(owner(assignableTo(Linker.class)))))
        .because("the kernel and libc never call into Java: HotSpot checks stack bounds")
        .check(PRODUCT);
  }

  @Test
  void downcallHandlesAreMadeByPosixOnly() {
    noClasses()
        .that()
        .resideOutsideOfPackage(ROOT + "posix..")
        .should()
        .callMethodWhere(
            target(name("downcallHandle")).and(target(owner(assignableTo(Linker.class)))))
        .because("each shape of one costs time at every start: CFunction has one for all")
        .check(PRODUCT);
  }

  @Test
  void whoMakesNativeCallsUsesPlatformThreads() {
    noClasses()
        .that(USE_NATIVE_CALLS)
        .should()
        .callMethodWhere(
            target(name("ofVirtual").or(name("startVirtualThread")))
                .and(target(owner(assignableTo(Thread.class)))))
        .because("a blocking downcall holds a virtual thread's carrier")
        .check(PRODUCT);
  }

  @Test
  void onlyTheCommandEndsTheProcess() {
    noClasses()
        .that()
        .resideOutsideOfPackage(ROOT + "cli..")
        .should()
        .callMethod(System.class, "exit", int.class)
        .check(PRODUCT);
  }

  @Test
  void nobodyLogsBehindTheUsersBack() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("java.util.logging..", "org.slf4j..")
        .check(PRODUCT);
  }

  @Test
  void everyClassIsInAModuleOfOurs() {
    classes()
        .should()
        .resideInAnyPackage(USES.keySet().stream().map(m -> ROOT + m + "..").toArray(String[]::new))
        .check(PRODUCT);
  }
}

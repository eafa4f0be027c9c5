// SPDX-License-Identifier: MIT
package dev.outboard.tests.support;

import java.lang.reflect.Method;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.extension.Extension;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;
import org.junit.jupiter.api.extension.TestTemplateInvocationContext;
import org.junit.jupiter.api.extension.TestTemplateInvocationContextProvider;

/** Runs a {@link Scenario} once in each mode, and keeps the evidence of a failure. */
final class ScenarioExtension implements TestTemplateInvocationContextProvider {
  @Override
  public boolean supportsTestTemplate(ExtensionContext context) {
    return context.getTestMethod().map(m -> m.isAnnotationPresent(Scenario.class)).orElse(false);
  }

  @Override
  public Stream<TestTemplateInvocationContext> provideTestTemplateInvocationContexts(
      ExtensionContext context) {
    Scenario scenario = context.getRequiredTestMethod().getAnnotation(Scenario.class);
    boolean spared = context.getRequiredTestClass().isAnnotationPresent(HostKernelByJudges.class);
    return Mode.selected().stream()
        .filter(List.of(scenario.modes())::contains)
        .filter(mode -> mode != Mode.HOST || Trial.whole() || !spared)
        .map(mode -> new OneMode(mode, scenario));
  }

  @Override
  public boolean mayReturnZeroTestTemplateInvocationContexts(ExtensionContext context) {
    return true; // a scenario for a mode that -Doutboard.modes leaves out
  }

  private record OneMode(Mode mode, Scenario scenario) implements TestTemplateInvocationContext {
    @Override
    public String getDisplayName(int invocationIndex) {
      return mode.word();
    }

    @Override
    public List<Extension> getAdditionalExtensions() {
      return List.of(new TrialOwner(mode, scenario));
    }
  }

  /** Opens the trial when the method's parameter is asked for, and sees to its end. */
  private static final class TrialOwner implements ParameterResolver, InvocationInterceptor {
    private final Mode mode;
    private final Scenario scenario;
    private @Nullable Trial trial;

    TrialOwner(Mode mode, Scenario scenario) {
      this.mode = mode;
      this.scenario = scenario;
    }

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
      return parameter.getParameter().getType() == Trial.class;
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
      Assumptions.assumeTrue(
          scenario.link() == Link.NONE || Machine.root(), "a link to the machine needs root");
      Trial opened =
          Trial.open(
              context.getRequiredTestClass().getSimpleName()
                  + "."
                  + context.getRequiredTestMethod().getName(),
              mode,
              scenario.link(),
              scenario.trace());
      trial = opened;
      return opened;
    }

    @Override
    public void interceptTestTemplateMethod(
        Invocation<@Nullable Void> invocation,
        ReflectiveInvocationContext<Method> method,
        ExtensionContext context)
        throws Throwable {
      Trial current = trial;
      if (current == null) {
        throw new AssertionError("a @Scenario method takes a Trial: " + method.getExecutable());
      }
      try (current) {
        try {
          invocation.proceed();
          current.finish();
        } catch (Throwable failure) {
          failure.addSuppressed(
              new Throwable("evidence of the failure: " + current.keepEvidence(failure)));
          throw failure;
        }
      }
    }
  }
}

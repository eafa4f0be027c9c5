// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * What a service says of itself and its kernels.
 *
 * @param service the service itself
 * @param kernels its kernels, by age
 */
public record ServiceStatus(
    ServiceFrame.ServiceStatus service, List<ServiceFrame.KernelStatus> kernels) {
  private static final int ANSWER_MILLIS = 5000;

  public ServiceStatus {
    kernels = List.copyOf(kernels);
  }

  /**
   * Asks the service that listens at a Unix socket. Waits for its answer, a few seconds at most.
   *
   * @throws LinkException if nothing listens there, or no answer comes
   */
  public static ServiceStatus ask(Path unixSocket) throws LinkException {
    try (FrameStream stream = new FrameStream(DeviceLink.connect(unixSocket))) {
      stream.send(new ServiceFrame.StatusRequest(1));
      return receive(() -> stream.receive(ANSWER_MILLIS), unixSocket.toString());
    }
  }

  /**
   * The answer to a {@link ServiceFrame.StatusRequest}. Whoever answers may be hostile: it says how
   * many frames it takes, which are bounded; how long it may take is the caller's business.
   *
   * @param frames what comes
   * @param at who answers, for people
   * @throws LinkException if it is none, or does not come
   */
  public static ServiceStatus receive(Supplier<Decoded> frames, String at) throws LinkException {
    if (!(next(frames, at) instanceof ServiceFrame.ServiceStatus service)) {
      throw new LinkException("What listens at " + at + " is no service.", null, true);
    }
    List<ServiceFrame.KernelStatus> kernels = new ArrayList<>();
    while (kernels.size() < service.kernels()) {
      if (!(next(frames, at) instanceof ServiceFrame.KernelStatus kernel)) {
        throw new LinkException("The service at " + at + " does not say all.", null, true);
      }
      kernels.add(kernel);
    }
    return new ServiceStatus(service, kernels);
  }

  private static Frame next(Supplier<Decoded> frames, String at) throws LinkException {
    return switch (frames.get()) {
      case Decoded.Received(Frame.Bye(String why)) ->
          throw new LinkException("The service at " + at + " refuses: " + PlainText.of(why));
      case Decoded.Received(Frame frame) -> frame;
      case Decoded.Malformed(String why) ->
          throw new LinkException("The service at " + at + " answers wrongly: " + why, null, true);
      case Decoded.Ended(String why) ->
          throw new LinkException("The service at " + at + " does not answer: " + why);
    };
  }
}

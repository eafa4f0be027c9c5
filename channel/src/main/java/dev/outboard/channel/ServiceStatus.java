// SPDX-License-Identifier: MIT
package dev.outboard.channel;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

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
      if (!(receive(stream) instanceof ServiceFrame.ServiceStatus service)) {
        throw new LinkException("What listens at " + unixSocket + " is no service.");
      }
      List<ServiceFrame.KernelStatus> kernels = new ArrayList<>();
      while (kernels.size() < service.kernels()) {
        if (!(receive(stream) instanceof ServiceFrame.KernelStatus kernel)) {
          throw new LinkException("The service at " + unixSocket + " does not say all.");
        }
        kernels.add(kernel);
      }
      return new ServiceStatus(service, kernels);
    }
  }

  private static Frame receive(FrameStream stream) throws LinkException {
    return switch (stream.receive(ANSWER_MILLIS)) {
      case Decoded.Received(Frame.Bye(String why)) -> throw new LinkException("It refuses: " + why);
      case Decoded.Received(Frame frame) -> frame;
      case Decoded.Malformed(String why) -> throw new LinkException("It answers wrongly: " + why);
      case Decoded.Ended(String why) -> throw new LinkException("It does not answer: " + why);
    };
  }
}

// SPDX-License-Identifier: MIT
package dev.outboard.service;

/** The service cannot do what it was asked to; the message is one sentence for the user. */
public final class ServiceException extends Exception {
  private static final long serialVersionUID = 1L;

  public ServiceException(String message) {
    super(message);
  }
}

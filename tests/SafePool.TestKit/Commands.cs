using System.Diagnostics;

namespace SafePool.TestKit;

/// <summary>Runs a program to its end.</summary>
internal static class Commands
{
    /// <exception cref="InvalidOperationException">The program failed; the message holds all that it said.</exception>
    public static async Task RunAsync(ProcessStartInfo start, CancellationToken cancellationToken)
    {
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        try
        {
            await process.WaitForExitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }

        if (process.ExitCode != 0)
        {
            var command = string.Join(' ', start.ArgumentList.Prepend(start.FileName));
            throw new InvalidOperationException($"'{command}' ended with {process.ExitCode}: {await output}{await errors}");
        }
    }
}

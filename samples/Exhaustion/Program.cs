using Microsoft.Extensions.Options;
using Npgsql;
using SafePool.Samples.Exhaustion;
using SafePool.Samples.Exhaustion.Scenarios;
using Spectre.Console;

if (!Arguments.TryRead(args, out var given))
{
    await Console.Error.WriteLineAsync(Arguments.Usage);
    return 2;
}

var begun = TimeProvider.System.GetTimestamp();
var console = Screen.Create();
try
{
    await using var server = await Server.AcquireAsync(given);
    console.WriteLine($"Server: {server.Origin}");
    var outcomes = await Screen.ShowAsync(console, (progress, done) => new Replay(server, progress, done).RunAsync(
        [new ForgottenReturn(), new ThrownInBetween(), new TooManyAtOnce(), new LongQuery(), new OpenTransaction()]));
    Report.Print(console, outcomes);
    return Report.Conclude(console, outcomes, TimeProvider.System.GetElapsedTime(begun));
}
catch (Exception error) when (error is NpgsqlException or OptionsValidationException or InvalidOperationException)
{
    // No server, no rights on it, or settings that SafePool refuses. What goes wrong on a side is in its outcome.
    await Console.Error.WriteLineAsync($"The sample could not run: {error.Message}");
    return 2;
}

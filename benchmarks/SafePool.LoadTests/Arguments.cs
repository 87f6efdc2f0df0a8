using System.Globalization;
using SafePool.LoadTests.Scenarios;

namespace SafePool.LoadTests;

/// <param name="Scenarios">What to run.</param>
/// <param name="Aftermath">How long the load goes on once a fault is over.</param>
internal sealed record Arguments(IReadOnlyList<Scenario> Scenarios, TimeSpan Aftermath)
{
    public static string Usage { get; } =
        $"""
        Usage: SafePool.LoadTests [--only <scenario>]... [--seconds <number>]
               SafePool.LoadTests overload [factor ...] | cold-start | starvation | idle
        --only     Runs this scenario, and may be given several times: {string.Join(", ", Scenario.All.Select(scenario => scenario.Id))}. Default: all.
        --seconds  How long the load goes on once the server is ready again. Default: 12; less than 10 cuts off what Npgsql's host cache does.
        """;

    private static Arguments Default { get; } = new([], TimeSpan.FromSeconds(12));

    /// <summary>Reads the command line; null when it makes no sense.</summary>
    public static Arguments? TryRead(IReadOnlyList<string> args)
    {
        var read = Default;
        for (var i = 0; i < args.Count && read is not null; i += 2)
        {
            read = i + 1 < args.Count ? read.TryAdd(args[i], args[i + 1]) : null;
        }

        return read is { Scenarios: [] } ? read with { Scenarios = Scenario.All } : read;
    }

    private Arguments? TryAdd(string name, string value) => name switch
    {
        "--only" when Scenario.All.FirstOrDefault(scenario => scenario.Id == value) is { } scenario => this with { Scenarios = [.. Scenarios, scenario] },
        "--seconds" when int.TryParse(value, CultureInfo.InvariantCulture, out var seconds) && seconds > 0 => this with { Aftermath = TimeSpan.FromSeconds(seconds) },
        _ => null,
    };
}

using System.Globalization;

namespace SafePool.ChaosTests;

/// <summary>What the environment says about a run.</summary>
/// <remarks>
/// The same seed gives the same pools, faults and requests, in the same order. It does not give the same interleaving: repeat a run that failed a few times.
/// </remarks>
internal static class Chaos
{
    /// <summary>SAFEPOOL_CHAOS_SEED, or a new one; printed by every run.</summary>
    public static int Seed { get; } = Number("SAFEPOOL_CHAOS_SEED") ?? Random.Shared.Next();

    /// <summary>SAFEPOOL_CHAOS_SECONDS; 15 by default, CI takes 30, a soak 600.</summary>
    public static TimeSpan Duration { get; } = TimeSpan.FromSeconds(Number("SAFEPOOL_CHAOS_SECONDS") ?? 15);

    /// <summary>SAFEPOOL_CHAOS_FAULTS: only faults whose names begin with one of these words, separated by commas.</summary>
    public static string[]? OnlyFaults { get; } = Environment.GetEnvironmentVariable("SAFEPOOL_CHAOS_FAULTS") is { Length: > 0 } words
        ? words.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        : null;

    /// <summary>SAFEPOOL_CHAOS_RESIZE=1: pools are given other sizes while faults are on.</summary>
    public static bool Resizes { get; } = Number("SAFEPOOL_CHAOS_RESIZE") == 1;

    private static int? Number(string variable)
        => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } text ? int.Parse(text, CultureInfo.InvariantCulture) : null;
}

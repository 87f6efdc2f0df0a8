namespace SafePool.ChaosTests;

/// <summary>Draws from a seeded generator.</summary>
internal static class Draws
{
    /// <summary>True so many times in a hundred.</summary>
    public static bool Percent(this Random random, double percent) => random.NextDouble() * 100 < percent;

    /// <summary>A duration between two others such that each magnitude is equally likely.</summary>
    public static TimeSpan Between(this Random random, TimeSpan shortest, TimeSpan longest)
        => shortest * Math.Pow(longest / shortest, random.NextDouble());

    /// <inheritdoc cref="Between(Random, TimeSpan, TimeSpan)"/>
    public static TimeSpan Milliseconds(this Random random, int shortest, int longest)
        => random.Between(TimeSpan.FromMilliseconds(shortest), TimeSpan.FromMilliseconds(longest));

    public static T Of<T>(this Random random, params ReadOnlySpan<T> choices) => choices[random.Next(choices.Length)];
}

using System.Globalization;

namespace SafePool.ChaosTests.Faults;

/// <summary>Faults that begin together, under load, and heal together.</summary>
internal sealed record Episode(int Number, IReadOnlyList<Fault> Faults, TimeSpan Duration)
{
    public override string ToString()
        => string.Create(CultureInfo.InvariantCulture, $"#{Number} {string.Join(" + ", Faults)} for {Duration.TotalMilliseconds:0} ms");
}

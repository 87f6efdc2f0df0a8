using Microsoft.Extensions.Configuration;

namespace SafePool.Hosting;

/// <summary>That a service has a pool.</summary>
/// <param name="Key">Null for the one without.</param>
/// <param name="Section">Where its options come from; null when the code alone says them.</param>
internal sealed record PoolRegistration(string? Key, IConfiguration? Section)
{
    public string OptionsName => Key ?? Microsoft.Extensions.Options.Options.DefaultName;

    // One for each call, whatever it says.
    public bool Equals(PoolRegistration? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);
}

namespace SafePool.EntityFrameworkCore;

/// <summary>The pool of a context: found when a connection is wanted, so that tools that only look at the model (<c>dotnet ef</c>) need none that is configured.</summary>
internal sealed class PoolSource(Func<ConnectionPool> find)
{
    /// <summary>Gets the pool.</summary>
    /// <exception cref="Microsoft.Extensions.Options.OptionsValidationException">Its options are at fault, such as a connection string that is missing.</exception>
    public ConnectionPool Pool => field ??= find();
}

using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SafePool's types in a compilation, by name: the analyzers must not reference it.</summary>
internal sealed class PoolTypes
{
    private static readonly ImmutableHashSet<string> _rents = ImmutableHashSet.Create("RentAsync", "Rent", "TryRent", "OpenConnectionAsync", "OpenConnection");

    private readonly INamedTypeSymbol _interface;
    private readonly INamedTypeSymbol? _token;

    private PoolTypes(Compilation compilation, INamedTypeSymbol pool, INamedTypeSymbol @interface)
    {
        (Pool, _interface) = (pool, @interface);
        _token = compilation.GetTypeByMetadataName("System.Threading.CancellationToken");
    }

    public INamedTypeSymbol Pool { get; }

    /// <summary>Null in a compilation that does not use SafePool.</summary>
    public static PoolTypes? Find(Compilation compilation)
        => compilation.GetTypeByMetadataName("SafePool.ConnectionPool") is { } pool
            && compilation.GetTypeByMetadataName("SafePool.IConnectionPool") is { } @interface
                ? new PoolTypes(compilation, pool, @interface)
                : null;

    public bool IsPool(ITypeSymbol? type)
        => type is not null
            && (SymbolEqualityComparer.Default.Equals(type, Pool)
                || SymbolEqualityComparer.Default.Equals(type, _interface)
                || type.AllInterfaces.Contains(_interface, SymbolEqualityComparer.Default));

    public bool IsToken(ITypeSymbol? type) => SymbolEqualityComparer.Default.Equals(type, _token);

    /// <summary>Whether a call takes something out of a pool, which the caller then owes back.</summary>
    public bool IsRent(IInvocationOperation call) => _rents.Contains(call.TargetMethod.Name) && IsPool(call.TargetMethod.ContainingType);

    /// <summary>Whether a call makes a pool.</summary>
    public bool IsCreation(IOperation operation) => operation switch
    {
        IObjectCreationOperation { Type: { } type } => SymbolEqualityComparer.Default.Equals(type, Pool),
        IInvocationOperation { TargetMethod: { Name: "Create", IsStatic: true } create } => SymbolEqualityComparer.Default.Equals(create.ContainingType, Pool),
        _ => false,
    };
}

using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>The part of a method in which a rented lease is held.</summary>
/// <param name="local">The variable that keeps it, if one does.</param>
/// <param name="statements">What is done meanwhile.</param>
internal sealed class HeldRegion(ILocalSymbol? local, IReadOnlyList<IOperation> statements)
{
    public ILocalSymbol? Local { get; } = local;

    /// <summary>Gets whether a 'using' ends it, and not just the method's end.</summary>
    public bool IsUsing { get; private set; }

    /// <summary>Finds it for a rent. Null where the lease goes elsewhere at once.</summary>
    public static HeldRegion? Of(IInvocationOperation rent)
    {
        var destination = Destination.Of(rent);
        return destination.Fate switch
        {
            Fate.Using when destination.At is IUsingOperation use => new(null, new[] { use.Body }) { IsUsing = true },
            Fate.Using when destination.At is IVariableDeclaratorOperation declarator => Declared(declarator),
            Fate.Kept => new(destination.Local, After(destination.At)),
            _ => null,
        };
    }

    /// <summary>All that happens in it and in this method: not what functions do that are only defined here, and nothing after a dispose.</summary>
    public IEnumerable<IOperation> Operations()
    {
        foreach (var operation in statements.SelectMany(InOrder))
        {
            if (Local is not null && operation is ILocalReferenceOperation reference && SymbolEqualityComparer.Default.Equals(reference.Local, Local)
                && Destination.Of(reference).Fate == Fate.Disposed)
            {
                yield break;
            }

            yield return operation;
        }
    }

    /// <summary>Everything written in it, inside other functions too.</summary>
    public IEnumerable<IOperation> Everything() => statements.SelectMany(statement => statement.DescendantsAndSelf());

    private static HeldRegion Declared(IVariableDeclaratorOperation declarator)
    {
        for (IOperation? parent = declarator.Parent; parent is not null; parent = parent.Parent)
        {
            if (parent is IUsingOperation use)
            {
                return new(declarator.Symbol, new[] { use.Body }) { IsUsing = true };
            }

            if (parent is IUsingDeclarationOperation)
            {
                break;
            }
        }

        return new(declarator.Symbol, After(declarator)) { IsUsing = true };
    }

    /// <summary>The statements after the one that an operation is part of, in the same block or case.</summary>
    private static IOperation[] After(IOperation operation)
    {
        for (var child = operation; child.Parent is { } parent; child = parent)
        {
            if (Sequence.Of(parent) is { } statements)
            {
                return statements.After(child).ToArray();
            }
        }

        return Array.Empty<IOperation>();
    }

    private static IEnumerable<IOperation> InOrder(IOperation operation)
    {
        if (operation is IAnonymousFunctionOperation or ILocalFunctionOperation)
        {
            yield break;
        }

        yield return operation;
        foreach (var child in operation.ChildOperations)
        {
            foreach (var descendant in InOrder(child))
            {
                yield return descendant;
            }
        }
    }
}
